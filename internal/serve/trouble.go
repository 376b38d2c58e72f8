package serve

import "time"

// Trouble is something that is wrong with the node as a whole, or that it waits for.
type Trouble struct {
	// What names the part of the node: "runtime", "API server", "certificate".
	What string `json:"what"`
	// Message is a sentence for people, with the command that helps if there is one.
	Message string `json:"message"`
	// Since is when it began; zero if that is not known.
	Since time.Time `json:"since,omitzero"`
}

// Troubles returns what is wrong with the node.
func (f *Faces) Troubles() []Trouble { return f.cfg.Troubles() }
