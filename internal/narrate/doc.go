// Package narrate owns the words in which a pod's life is told: it turns effects that begin and end, and changes of
// the plan, into notes with the reasons and sentences that users of Kubernetes match on (behaviours 66, 155, 312-314).
// What is tried again and again is told each time it is tried; readers count what repeats.
package narrate
