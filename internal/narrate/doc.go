// Package narrate owns the words in which a pod's life is told: it turns effects that begin and end, and changes of
// the plan, into notes with the reasons and sentences that users of Kubernetes match on (behaviours 66, 155, T).
package narrate
