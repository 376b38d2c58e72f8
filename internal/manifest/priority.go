package manifest

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// systemClasses are the classes that every cluster has, with their priorities.
var systemClasses = [...]struct {
	name     string
	priority int32
}{{"system-node-critical", 2000001000}, {"system-cluster-critical", 2000000000}}

// OddPriority says what a pod of a manifest gains or loses by its priority, if that is not what one would think: the node counts it as
// critical whatever it says, and nobody looks up its class (behaviour 12). It is empty if there is nothing odd.
func OddPriority(p *v1.Pod) string {
	const critical = "a pod of a manifest is critical to the node, whatever its priority"
	class, priority := p.Spec.PriorityClassName, p.Spec.Priority
	for _, c := range systemClasses {
		if c.name != class {
			continue
		}
		if priority != nil && *priority != c.priority {
			return fmt.Sprintf("spec.priority is %d, and spec.priorityClassName %s, which stands for %d", *priority, class, c.priority)
		}
		return ""
	}
	switch {
	case class != "" && priority == nil:
		return fmt.Sprintf("spec.priorityClassName is %s, which no node looks up: its priority counts as 0; name spec.priority as well, or system-node-critical; %s", class, critical)
	case priority != nil && *priority < systemClasses[1].priority:
		return fmt.Sprintf("spec.priority is %d: it counts when pods are ranked, but %s", *priority, critical)
	}
	return ""
}
