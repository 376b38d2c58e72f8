package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bosun-project/bosun/internal/serve"
)

// overview asks for all pods, and keeps those of the namespace that is asked for.
func (q *asking) overview(ctx context.Context, a *agent) (serve.Overview, error) {
	var o serve.Overview
	err := a.read(ctx, "/debug/pods", &o)
	o.Pods = q.mine(o.Pods)
	return o, err
}

func (q *asking) mine(pods []serve.Pod) []serve.Pod {
	return slices.DeleteFunc(pods, func(p serve.Pod) bool { return q.namespace != "" && p.Namespace != q.namespace })
}

// pick finds the pod that a person means by NAME or NAMESPACE/NAME. The node's name at the end of a static pod's name
// may be left out. An older pod of the name that is still ending is meant only if there is no other.
func pick(pods []serve.Pod, said string) (*serve.Pod, error) {
	namespace, name, qualified := strings.Cut(said, "/")
	if !qualified {
		namespace, name = "", said
	}
	var exact, short []*serve.Pod
	for i := range pods {
		p := &pods[i]
		switch {
		case namespace != "" && p.Namespace != namespace:
		case p.Name == name:
			exact = append(exact, p)
		case p.Node != "" && p.Name == name+"-"+p.Node:
			short = append(short, p)
		}
	}
	found := exact
	if len(found) == 0 {
		found = short
	}
	if len(found) > 1 {
		if going := slices.DeleteFunc(slices.Clone(found), func(p *serve.Pod) bool { return p.Stop != nil }); len(going) > 0 {
			found = going
		}
	}
	switch {
	case len(found) == 0:
		return nil, notThere(pods, said)
	case len(found) > 1 && found[0].Namespace != found[1].Namespace:
		return nil, fmt.Errorf("%q is the name of several pods: %s; say which", said, listed(found))
	}
	return found[0], nil
}

func notThere(pods []serve.Pod, said string) error {
	if len(pods) == 0 {
		return fmt.Errorf("no pod %q: the agent knows of no pods", said)
	}
	all := make([]*serve.Pod, 0, len(pods))
	for i := range pods {
		all = append(all, &pods[i])
	}
	const few = 10
	if len(all) > few {
		return fmt.Errorf("no pod %q; `bosun get pods` lists the %d there are", said, len(all))
	}
	return fmt.Errorf("no pod %q; there is %s", said, listed(all))
}

func listed(pods []*serve.Pod) string {
	var out []string
	for _, p := range pods {
		if full := p.Namespace + "/" + p.Name; !slices.Contains(out, full) {
			out = append(out, full)
		}
	}
	return strings.Join(out, ", ")
}

// container finds the container that is meant: the one named, else the pod's default, then with the others there are.
func container(p *serve.Pod, said string) (name string, others []string, err error) {
	var all []string
	for i := range p.Parts {
		all = append(all, p.Parts[i].Name)
	}
	switch {
	case len(all) == 0:
		return "", nil, fmt.Errorf("pod %s/%s has no containers", p.Namespace, p.Name)
	case said != "" && !slices.Contains(all, said):
		return "", nil, fmt.Errorf("pod %s/%s has no container %q; it has %s", p.Namespace, p.Name, said, strings.Join(all, ", "))
	case said != "":
		return said, nil, nil
	case p.DefaultContainer != "":
		name = p.DefaultContainer
	default:
		name = all[0]
	}
	return name, slices.DeleteFunc(all, func(other string) bool { return other == name }), nil
}

// chose says which container was taken for want of a word, if there was a choice.
func chose(name string, others []string) string {
	if len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("this is container %s; for %s use -c\n", name, strings.Join(others, " or "))
}
