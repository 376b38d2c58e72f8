// Package reason owns the reason words that users and tools match on: in container states, pod conditions, pod
// status and events. They are carried through the code as data. Spelling is as upstream (behaviours D 64, I, Q, T).
package reason
