package manifest

import (
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// scheduling checks what says where a pod may run. Most of it means nothing to a node that is given a pod, but a
// wrong value is wrong all the same.
func (c *checker) scheduling(s *v1.PodSpec, at *field.Path) {
	if s.SchedulerName == "" {
		c.required(at.Child("schedulerName"), "")
	} else {
		c.must(at.Child("schedulerName"), s.SchedulerName, validation.IsQualifiedName(s.SchedulerName))
	}
	c.add(metavalidation.ValidateLabels(s.NodeSelector, at.Child("nodeSelector"))...)
	for i := range s.Tolerations {
		c.toleration(&s.Tolerations[i], at.Child("tolerations").Index(i))
	}
	if s.Affinity != nil {
		c.affinity(s.Affinity, at.Child("affinity"))
	}
	for i := range s.TopologySpreadConstraints {
		c.spread(s.TopologySpreadConstraints, i, at.Child("topologySpreadConstraints").Index(i))
	}
	gates := at.Child("schedulingGates")
	if len(s.SchedulingGates) > maxGates {
		c.add(field.TooMany(gates, len(s.SchedulingGates), maxGates))
	}
	for i, g := range s.SchedulingGates {
		c.must(gates.Index(i).Child("name"), g.Name, validation.IsQualifiedName(g.Name))
		if slices.Contains(s.SchedulingGates[:i], g) {
			c.add(field.Duplicate(gates.Index(i).Child("name"), g.Name))
		}
	}
	if len(s.SchedulingGates) > 0 && s.NodeName != "" {
		c.forbidden(at.Child("nodeName"), "cannot be set until all schedulingGates have been cleared")
	}
}

func (c *checker) toleration(t *v1.Toleration, at *field.Path) {
	if t.Key != "" {
		c.add(metavalidation.ValidateLabelName(t.Key, at.Child("key"))...)
	} else if t.Operator != v1.TolerationOpExists {
		c.invalid(at.Child("operator"), t.Operator, `operator must be Exists when `+"`key`"+` is empty, which means "match all values and all keys"`)
	}
	if t.TolerationSeconds != nil && t.Effect != v1.TaintEffectNoExecute {
		c.invalid(at.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
	}
	switch t.Operator {
	case v1.TolerationOpEqual, "":
		c.must(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))
	case v1.TolerationOpExists:
		if t.Value != "" {
			c.invalid(at.Child("value"), t.Value, "value must be empty when `operator` is 'Exists'")
		}
	case v1.TolerationOpLt, v1.TolerationOpGt:
		if _, err := strconv.ParseInt(t.Value, 10, 64); err != nil {
			c.invalid(at.Child("value"), t.Value, "must be an integer when `operator` is 'Lt' or 'Gt'")
		}
	default:
		oneOf(c, at.Child("operator"), t.Operator, v1.TolerationOpEqual, v1.TolerationOpExists, v1.TolerationOpLt, v1.TolerationOpGt)
	}
	if t.Effect != "" {
		oneOf(c, at.Child("effect"), t.Effect, v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute)
	}
}

const (
	requiredTerms  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferredTerms = "preferredDuringSchedulingIgnoredDuringExecution"
)

func (c *checker) affinity(a *v1.Affinity, at *field.Path) {
	if n := a.NodeAffinity; n != nil {
		here := at.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			terms := here.Child(requiredTerms, "nodeSelectorTerms")
			if len(r.NodeSelectorTerms) == 0 {
				c.required(terms, "must have at least one node selector term")
			}
			for i := range r.NodeSelectorTerms {
				c.nodeTerm(&r.NodeSelectorTerms[i], terms.Index(i))
			}
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			term, place := &n.PreferredDuringSchedulingIgnoredDuringExecution[i], here.Child(preferredTerms).Index(i)
			c.weight(term.Weight, place)
			c.nodeTerm(&term.Preference, place.Child("preference"))
		}
	}
	if p := a.PodAffinity; p != nil {
		c.podTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
	}
	if p := a.PodAntiAffinity; p != nil {
		c.podTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
	}
}

func (c *checker) weight(n int32, at *field.Path) {
	if n < 1 || n > 100 {
		c.invalid(at.Child("weight"), n, "must be in the range 1-100")
	}
}

func (c *checker) nodeTerm(t *v1.NodeSelectorTerm, at *field.Path) {
	for i := range t.MatchExpressions {
		r, here := &t.MatchExpressions[i], at.Child("matchExpressions").Index(i)
		c.nodeRequirement(r, here)
		c.add(metavalidation.ValidateLabelName(r.Key, here.Child("key"))...)
	}
	for i := range t.MatchFields {
		r, here := &t.MatchFields[i], at.Child("matchFields").Index(i)
		oneOf(c, here.Child("operator"), r.Operator, v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn)
		oneOf(c, here.Child("key"), r.Key, metav1.ObjectNameField)
		if len(r.Values) != 1 {
			c.required(here.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
		}
		for j, name := range r.Values {
			c.must(here.Child("values").Index(j), name, validation.IsDNS1123Subdomain(name))
		}
	}
}

func (c *checker) nodeRequirement(r *v1.NodeSelectorRequirement, at *field.Path) {
	values := at.Child("values")
	switch r.Operator {
	case v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			c.required(values, "must be specified when `operator` is 'In' or 'NotIn'")
		}
	case v1.NodeSelectorOpExists, v1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			c.forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
		}
	case v1.NodeSelectorOpGt, v1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			c.required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'")
		} else if _, err := strconv.ParseInt(r.Values[0], 10, 64); err != nil {
			c.invalid(values.Index(0), r.Values[0], "must be an integer when `operator` is 'Lt' or 'Gt'")
		}
	default:
		oneOf(c, at.Child("operator"), r.Operator, v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn, v1.NodeSelectorOpExists,
			v1.NodeSelectorOpDoesNotExist, v1.NodeSelectorOpGt, v1.NodeSelectorOpLt)
	}
}

func (c *checker) podTerms(required []v1.PodAffinityTerm, preferred []v1.WeightedPodAffinityTerm, at *field.Path) {
	for i := range required {
		c.podTerm(&required[i], at.Child(requiredTerms).Index(i))
	}
	for i := range preferred {
		here := at.Child(preferredTerms).Index(i)
		c.weight(preferred[i].Weight, here)
		c.podTerm(&preferred[i].PodAffinityTerm, here.Child("podAffinityTerm"))
	}
}

func (c *checker) podTerm(t *v1.PodAffinityTerm, at *field.Path) {
	options := metavalidation.LabelSelectorValidationOptions{}
	c.add(metavalidation.ValidateLabelSelector(t.LabelSelector, options, at.Child("labelSelector"))...)
	c.add(metavalidation.ValidateLabelSelector(t.NamespaceSelector, options, at.Child("namespaceSelector"))...)
	for i, name := range t.Namespaces {
		c.must(at.Child("namespaces").Index(i), name, apivalidation.NameIsDNSLabel(name, false))
	}
	if t.TopologyKey == "" {
		c.required(at.Child("topologyKey"), "can not be empty")
	} else {
		c.add(metavalidation.ValidateLabelName(t.TopologyKey, at.Child("topologyKey"))...)
	}
	c.labelKeys(t.MatchLabelKeys, t.LabelSelector, at.Child("matchLabelKeys"))
	c.labelKeys(t.MismatchLabelKeys, t.LabelSelector, at.Child("mismatchLabelKeys"))
	for i, key := range t.MismatchLabelKeys {
		if slices.Contains(t.MatchLabelKeys, key) {
			c.invalid(at.Child("mismatchLabelKeys").Index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys")
		}
	}
}

func (c *checker) labelKeys(keys []string, selector *metav1.LabelSelector, at *field.Path) {
	if len(keys) > 0 && selector == nil {
		c.forbidden(at, "must not be specified when labelSelector is not set")
	}
	for i, key := range keys {
		c.add(metavalidation.ValidateLabelName(key, at.Index(i))...)
		if selector == nil {
			continue
		}
		_, matched := selector.MatchLabels[key]
		if matched || slices.ContainsFunc(selector.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool { return e.Key == key }) {
			c.invalid(at.Index(i), key, "exists both here and in labelSelector")
		}
	}
}

func (c *checker) spread(all []v1.TopologySpreadConstraint, i int, at *field.Path) {
	t := &all[i]
	if t.MaxSkew <= 0 {
		c.invalid(at.Child("maxSkew"), t.MaxSkew, "must be greater than zero")
	}
	if t.TopologyKey == "" {
		c.required(at.Child("topologyKey"), "can not be empty")
	} else {
		c.add(metavalidation.ValidateLabelName(t.TopologyKey, at.Child("topologyKey"))...)
	}
	oneOf(c, at.Child("whenUnsatisfiable"), t.WhenUnsatisfiable, v1.DoNotSchedule, v1.ScheduleAnyway)
	if slices.ContainsFunc(all[:i], func(o v1.TopologySpreadConstraint) bool {
		return o.TopologyKey == t.TopologyKey && o.WhenUnsatisfiable == t.WhenUnsatisfiable
	}) {
		c.add(field.Duplicate(at, "{"+t.TopologyKey+", "+string(t.WhenUnsatisfiable)+"}"))
	}
	if m := t.MinDomains; m != nil {
		if *m <= 0 {
			c.invalid(at.Child("minDomains"), *m, "must be greater than zero")
		}
		if t.WhenUnsatisfiable != v1.DoNotSchedule {
			c.invalid(at.Child("minDomains"), *m, "can only use minDomains if whenUnsatisfiable=DoNotSchedule")
		}
	}
	if p := t.NodeAffinityPolicy; p != nil {
		oneOf(c, at.Child("nodeAffinityPolicy"), *p, v1.NodeInclusionPolicyIgnore, v1.NodeInclusionPolicyHonor)
	}
	if p := t.NodeTaintsPolicy; p != nil {
		oneOf(c, at.Child("nodeTaintsPolicy"), *p, v1.NodeInclusionPolicyIgnore, v1.NodeInclusionPolicyHonor)
	}
	c.labelKeys(t.MatchLabelKeys, t.LabelSelector, at.Child("matchLabelKeys"))
	c.add(metavalidation.ValidateLabelSelector(t.LabelSelector, metavalidation.LabelSelectorValidationOptions{}, at.Child("labelSelector"))...)
}
