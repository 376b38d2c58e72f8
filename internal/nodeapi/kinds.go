package nodeapi

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// object is one of the API.
type object interface {
	metav1.Object
	runtime.Object
}

// kind is one sort of object that is served.
type kind struct {
	// name is the plural in paths.
	name, singular, kind string
	short                []string
	namespaced           bool
	// writable kinds are given by people, the others tell of the node.
	writable bool
	// fields are what field selectors may ask for beside metadata.name and metadata.namespace.
	fields func(object) fields.Set
	table  table
	// why says what to do instead of writing, of kinds that are not writable.
	why string
}

func (k *kind) resource() schema.GroupResource { return schema.GroupResource{Resource: k.name} }

const (
	pods       = "pods"
	configMaps = "configmaps"
	secrets    = "secrets"
	nodes      = "nodes"
	namespaces = "namespaces"
	events     = "events"
)

// kinds are all that is served.
func kinds() []*kind {
	none := func(object) fields.Set { return nil }
	return []*kind{
		{name: pods, singular: "pod", kind: "Pod", short: []string{"po"}, namespaced: true, writable: true, fields: podFields, table: podTable()},
		{name: configMaps, singular: "configmap", kind: "ConfigMap", short: []string{"cm"}, namespaced: true, writable: true, fields: none, table: configMapTable()},
		{name: secrets, singular: "secret", kind: "Secret", namespaced: true, writable: true, table: secretTable(),
			fields: func(o object) fields.Set { return fields.Set{"type": string(o.(*v1.Secret).Type)} }},
		{name: nodes, singular: "node", kind: "Node", short: []string{"no"}, table: nodeTable(), why: "the node tells of itself; its labels are those of --node-labels",
			fields: func(o object) fields.Set {
				return fields.Set{"spec.unschedulable": strconv.FormatBool(o.(*v1.Node).Spec.Unschedulable)}
			}},
		{name: namespaces, singular: "namespace", kind: "Namespace", short: []string{"ns"}, writable: true, table: namespaceTable(),
			fields: func(o object) fields.Set { return fields.Set{"status.phase": string(o.(*v1.Namespace).Status.Phase)} }},
		{name: events, singular: "event", kind: "Event", short: []string{"ev"}, namespaced: true, fields: eventFields, table: eventTable(),
			why: "the node tells of what happens itself"},
	}
}

// selectable are the names that field selectors of a kind may ask for.
func (k *kind) set(o object) fields.Set {
	s := k.fields(o)
	if s == nil {
		s = fields.Set{}
	}
	s["metadata.name"], s["metadata.namespace"] = o.GetName(), o.GetNamespace()
	return s
}

// blank is an object of the kind of which nothing is known.
func (k *kind) blank() object {
	switch k.name {
	case pods:
		return &v1.Pod{}
	case configMaps:
		return &v1.ConfigMap{}
	case secrets:
		return &v1.Secret{}
	case nodes:
		return &v1.Node{}
	case namespaces:
		return &v1.Namespace{}
	}
	return &v1.Event{}
}

func podFields(o object) fields.Set {
	p := o.(*v1.Pod)
	return fields.Set{
		"spec.nodeName": p.Spec.NodeName, "spec.restartPolicy": string(p.Spec.RestartPolicy), "spec.schedulerName": p.Spec.SchedulerName,
		"spec.serviceAccountName": p.Spec.ServiceAccountName, "spec.hostNetwork": strconv.FormatBool(p.Spec.HostNetwork),
		"status.phase": string(p.Status.Phase), "status.podIP": p.Status.PodIP, "status.nominatedNodeName": p.Status.NominatedNodeName,
	}
}

func eventFields(o object) fields.Set {
	e := o.(*v1.Event)
	return fields.Set{
		"involvedObject.kind": e.InvolvedObject.Kind, "involvedObject.namespace": e.InvolvedObject.Namespace, "involvedObject.name": e.InvolvedObject.Name,
		"involvedObject.uid": string(e.InvolvedObject.UID), "involvedObject.apiVersion": e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion, "involvedObject.fieldPath": e.InvolvedObject.FieldPath,
		"reason": e.Reason, "reportingComponent": e.ReportingController, "source": e.Source.Component, "type": e.Type,
	}
}
