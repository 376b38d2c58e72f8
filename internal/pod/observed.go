package pod

import (
	"cmp"
	"slices"
	"time"
)

// ContainerState is where a container is in its life. For one container ID it only ever grows, except that
// Running and Unknown may follow each other.
//
//	Created ──► Running ◄──► Unknown ──► Exited ──► Gone
type ContainerState uint8

// The container states. Unknown is the runtime's word for "I lost track of it" (behaviour 356).
const (
	Created ContainerState = iota + 1
	Running
	Unknown
	Exited
	Gone
)

// String returns the state as people read it.
func (s ContainerState) String() string {
	switch s {
	case Created:
		return "created"
	case Running:
		return "running"
	case Unknown:
		return "unknown"
	case Exited:
		return "exited"
	case Gone:
		return "gone"
	}
	return "none"
}

// rank orders states of one container ID: a report of a lower rank is an old story.
func (s ContainerState) rank() int {
	if s == Unknown {
		return int(Running)
	}
	return int(s)
}

// Container is one container instance as the runtime tells of it.
type Container struct {
	ID        string
	SandboxID string
	Name      string
	Attempt   uint32
	State     ContainerState
	// Seen is when this was true: when the inspection began, the event was made, or the call returned.
	Seen time.Time

	// Hash is the annotation that tells which definition the container was made from (behaviour 59).
	Hash string
	// Image is the name the runtime shows; ImageID identifies the content.
	Image      string
	ImageID    string
	CreatedAt  time.Time
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int32
	Reason     string
	// Message is what the runtime or the termination message file says of the end.
	Message string
	LogPath string
	// Annotations are those the agent wrote at creation; a pod known only from the runtime is stopped by them.
	Annotations map[string]string
	// User is who the first process runs as, nil where the runtime does not tell.
	User *User
	// StopSignal is the signal the runtime would stop the container with, such as SIGTERM; empty if it does not tell.
	StopSignal string
	// Mounted are the images that are mounted into it as volumes, as the runtime was told them.
	Mounted []string
}

// User is the identity of a container's first process.
type User struct {
	UID, GID           int64
	SupplementalGroups []int64
}

// Live tells whether the container may have a process.
func (c *Container) Live() bool { return c.State == Running || c.State == Unknown }

// Sandbox is one pod sandbox as the runtime tells of it. Its state only ever grows: Ready, not ready, gone.
type Sandbox struct {
	ID      string
	Attempt uint32
	Ready   bool
	Gone    bool
	Seen    time.Time

	CreatedAt time.Time
	// IPs are the pod's addresses, the primary one first; empty in the node's network.
	IPs         []string
	HostNetwork bool
	Handler     string
}

func (s *Sandbox) rank() int {
	switch {
	case s.Gone:
		return 3
	case !s.Ready:
		return 2
	}
	return 1
}

// Report is one look at what the runtime has of a pod: an inspection, an event, or what a call returned.
type Report struct {
	// Complete means that everything of the pod is in it: what is missing does not exist.
	Complete bool
	// Own marks what a call of this agent returned. Only own and complete reports may introduce something new: an
	// event that names something unknown may be a replay of the past, and only says "look again".
	Own bool
	// Began is when an inspection began, an event was made, or a call returned.
	Began time.Time
	// Namespace and Name are the pod's, from the labels; empty if nothing of it is there.
	Namespace, Name string
	Sandboxes       []Sandbox
	Containers      []Container
}

// Observed is all that is known of a pod in the runtime, newest first.
type Observed struct {
	// Inspected is when the newest complete inspection began; zero if there was none.
	Inspected  time.Time
	Sandboxes  []Sandbox
	Containers []Container
	// Surprised is when something unknown was named: by an event newer than the last inspection, or by a report that
	// was overtaken by it. An inspection that began later clears it, and so do own reports of all of it.
	Surprised time.Time
	// Strangers holds the IDs of what Surprised is about.
	Strangers []string
}

// Merge adds a report. Reports may be old, repeated, or out of order: a container or sandbox never goes back in its
// life, only a complete report that began after a thing was last seen can tell that it is gone, and only one that began
// no earlier than the last inspection can bring in something new.
func (o Observed) Merge(r Report) Observed {
	late := r.Began.Before(o.Inspected)
	introduces := (r.Complete || r.Own) && !late
	strangers := o.strangers(r)
	switch {
	case len(strangers) == 0 || introduces:
	case r.Complete || r.Own: // a later inspection did not find it: it is gone, or it was made while both were looking
		o.surprise(o.Inspected, strangers)
	case r.Began.After(o.Inspected):
		o.surprise(r.Began, strangers)
	}
	o.Sandboxes = mergeSandboxes(o.Sandboxes, r, introduces)
	o.Containers = mergeContainers(o.Containers, r, introduces)
	if r.Complete && r.Began.After(o.Inspected) {
		o.Inspected = r.Began
	}
	if o.explained(r) {
		o.Surprised, o.Strangers = time.Time{}, nil
	}
	return o
}

// bringsIn tells whether a report may be the first to tell of a container. A call of this agent makes none that has
// ended: what it tells of such a one was found out while it was being removed.
func (r *Report) bringsIn(c *Container) bool { return !r.Own || c.State != Exited }

// strangers returns the IDs of what a report says exists and nobody knew of.
func (o *Observed) strangers(r Report) []string {
	var ids []string
	for i := range r.Sandboxes {
		if s := &r.Sandboxes[i]; !s.Gone && !o.knows(s.ID) {
			ids = append(ids, s.ID)
		}
	}
	for i := range r.Containers {
		if c := &r.Containers[i]; c.State != Gone && r.bringsIn(c) && !o.knows(c.ID) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func (o *Observed) knows(id string) bool {
	return o.Container(id) != nil || slices.ContainsFunc(o.Sandboxes, func(s Sandbox) bool { return s.ID == id })
}

func (o *Observed) surprise(at time.Time, ids []string) {
	if at.After(o.Surprised) {
		o.Surprised = at
	}
	for _, id := range ids {
		if !slices.Contains(o.Strangers, id) {
			o.Strangers = append(slices.Clip(o.Strangers), id)
		}
	}
}

// explained tells whether a report ends the surprise: an event of something that the agent itself has just made often
// comes before the call that made it returns, and nobody has to look for that.
func (o *Observed) explained(r Report) bool {
	if r.Complete {
		return r.Began.After(o.Surprised)
	}
	return r.Own && !slices.ContainsFunc(o.Strangers, func(id string) bool { return !o.knows(id) })
}

func mergeContainers(known []Container, r Report, introduces bool) []Container {
	out := make([]Container, 0, len(known)+1)
	for _, k := range known {
		i := slices.IndexFunc(r.Containers, func(c Container) bool { return c.ID == k.ID })
		switch {
		case i >= 0:
			out = append(out, laterContainer(k, r.Containers[i]))
		case r.Complete && r.Began.After(k.Seen): // inspected after it was last seen, and not there
		default:
			out = append(out, k)
		}
	}
	for _, c := range r.Containers {
		if introduces && r.bringsIn(&c) && !slices.ContainsFunc(known, func(k Container) bool { return k.ID == c.ID }) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b Container) int {
		return cmp.Or(cmp.Compare(b.Attempt, a.Attempt), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func laterContainer(known, said Container) Container {
	if said.State.rank() < known.State.rank() {
		return known
	}
	if said.State.rank() == known.State.rank() && said.Seen.Before(known.Seen) {
		return known
	}
	return said.withDetailsOf(known)
}

// withDetailsOf keeps what a terse report does not say.
func (c Container) withDetailsOf(known Container) Container {
	keep := func(to *string, from string) {
		if *to == "" {
			*to = from
		}
	}
	keep(&c.SandboxID, known.SandboxID)
	keep(&c.Name, known.Name)
	keep(&c.Hash, known.Hash)
	keep(&c.Image, known.Image)
	keep(&c.ImageID, known.ImageID)
	keep(&c.LogPath, known.LogPath)
	keep(&c.StopSignal, known.StopSignal)
	keep(&c.Message, known.Message)
	if c.Annotations == nil {
		c.Annotations = known.Annotations
	}
	if c.Mounted == nil {
		c.Mounted = known.Mounted
	}
	if c.User == nil {
		c.User = known.User
	}
	if c.CreatedAt.IsZero() {
		c.CreatedAt = known.CreatedAt
	}
	if c.StartedAt.IsZero() {
		c.StartedAt = known.StartedAt
	}
	if c.FinishedAt.IsZero() && c.State >= Exited { // it tells of the end, but not how
		c.FinishedAt, c.ExitCode = known.FinishedAt, known.ExitCode
		keep(&c.Reason, known.Reason)
	}
	c.Attempt = max(c.Attempt, known.Attempt)
	return c
}

func mergeSandboxes(known []Sandbox, r Report, introduces bool) []Sandbox {
	out := make([]Sandbox, 0, len(known)+1)
	for _, k := range known {
		i := slices.IndexFunc(r.Sandboxes, func(s Sandbox) bool { return s.ID == k.ID })
		switch {
		case i >= 0:
			out = append(out, laterSandbox(k, r.Sandboxes[i]))
		case r.Complete && r.Began.After(k.Seen):
		default:
			out = append(out, k)
		}
	}
	for _, s := range r.Sandboxes {
		if introduces && !slices.ContainsFunc(known, func(k Sandbox) bool { return k.ID == s.ID }) {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Sandbox) int {
		return cmp.Or(cmp.Compare(b.Attempt, a.Attempt), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func laterSandbox(known, said Sandbox) Sandbox {
	if said.rank() < known.rank() || said.rank() == known.rank() && said.Seen.Before(known.Seen) {
		return known
	}
	if len(said.IPs) == 0 { // a sandbox that is no longer ready has lost its addresses; status keeps showing them
		said.IPs = known.IPs
	}
	if said.CreatedAt.IsZero() {
		said.CreatedAt = known.CreatedAt
	}
	if said.Handler == "" {
		said.Handler = known.Handler
	}
	said.HostNetwork = said.HostNetwork || known.HostNetwork
	said.Attempt = max(said.Attempt, known.Attempt)
	return said
}

// Latest returns the newest instance of a container that still exists, or nil.
func (o *Observed) Latest(name string) *Container {
	for i := range o.Containers {
		if c := &o.Containers[i]; c.Name == name && c.State != Gone {
			return c
		}
	}
	return nil
}

// LatestIn is Latest among the containers of one sandbox.
func (o *Observed) LatestIn(sandboxID, name string) *Container {
	for i := range o.Containers {
		if c := &o.Containers[i]; c.Name == name && c.SandboxID == sandboxID && c.State != Gone {
			return c
		}
	}
	return nil
}

// Container returns the container of that ID, or nil.
func (o *Observed) Container(id string) *Container {
	for i := range o.Containers {
		if o.Containers[i].ID == id {
			return &o.Containers[i]
		}
	}
	return nil
}
