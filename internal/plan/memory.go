package plan

import (
	"maps"
	"time"

	"github.com/bosun-project/bosun/internal/allocate"
)

// Stage is where a pod is in its life on this node. There is no way back from Stopping.
//
//	Waiting ──► Preparing ◄──► Initialising ──► Running
//	   │            │               │              │
//	   └────────────┴───────┬───────┴──────────────┘
//	                        ▼
//	                    Stopping ──► Cleaning ──► Done
//
// Preparing is entered again from Initialising or Running when the sandbox is lost, and Initialising from Running when all
// containers are restarted.
type Stage uint8

// The stages.
const (
	Waiting Stage = iota
	Preparing
	Initialising
	Running
	Stopping
	Cleaning
	Done
)

var stageNames = [...]string{"Waiting", "Preparing", "Initialising", "Running", "Stopping", "Cleaning", "Done"}

// String returns the stage as people read it.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "Stage?"
}

// Memory is what the agent knows of a pod beyond what the runtime can tell.
type Memory struct {
	Stage Stage
	// Kept survives a crash: the worker writes it to the ledger before it acts on it.
	Kept Kept
	// Session holds while this process lives; all of it can be found out again.
	Session Session
}

// Kept is the part of Memory that is in the ledger.
type Kept struct {
	// Admitted is when the pod passed admission; an admitted pod is never judged again.
	Admitted time.Time `json:"admitted,omitzero"`
	// Allocated is what the pod was given of the node; nil if that is not known. The value is shared and never changed.
	Allocated *Allocation `json:"allocated,omitempty"`
	// Assigned is what the pod has of the node for itself alone; nil if that is nothing. The value is shared and never changed.
	Assigned *allocate.Assigned `json:"assigned,omitempty"`
	// Handed is what device plugins have handed out for what is assigned; nil before.
	Handed *allocate.Handed `json:"handed,omitempty"`
	// Pending is why other resources that the pod is wanted with cannot be had; nil if there are none. Resizing is set while
	// what was given has not come about.
	Pending  *Pending  `json:"pending,omitempty"`
	Resizing *Resizing `json:"resizing,omitempty"`
	// Stop is the decision to end the pod, once there is one. It is never taken back.
	Stop *Stop `json:"stop,omitempty"`
	// Containers holds what is remembered by container name.
	Containers map[string]ContainerMemory `json:"containers,omitempty"`
	// Renewal is the last restart of all containers in place, nil if there was none.
	Renewal *Renewal `json:"renewal,omitempty"`
	// Uprooted is the ID of a sandbox that is not in the pod's cgroup, because that was not there: another cgroup driver or root was
	// configured. It has to make way for one that is, once (behaviour 364).
	Uprooted string `json:"uprooted,omitempty"`
	// VolumeImages holds the IDs of the images that are volumes, by volume.
	VolumeImages map[string]string `json:"volumeImages,omitempty"`
	// Failures holds the effects that failed last time they were tried, by Effect.Subject.
	Failures map[string]Failure `json:"failures,omitempty"`
}

// Cause tells why a pod is being stopped.
type Cause string

// The causes.
const (
	Removed   Cause = "removed"   // its source no longer names it
	Deleted   Cause = "deleted"   // the API object carries a deletion timestamp
	Completed Cause = "completed" // its containers ended and may not start again
	Refused   Cause = "refused"   // admission said no
	Overdue   Cause = "overdue"   // activeDeadlineSeconds
	Ordered   Cause = "ordered"   // eviction, preemption, node shutdown
	Overfull  Cause = "overfull"  // it uses more of the node's disk than its own limits allow
	Orphaned  Cause = "orphaned"  // no source names it and none ever did in this agent's memory
)

// Stop is the decision to end a pod. Deadline is absolute: it holds across restarts of the agent, and may only come nearer.
type Stop struct {
	Cause    Cause         `json:"cause"`
	Reason   string        `json:"reason,omitempty"`
	Message  string        `json:"message,omitempty"`
	At       time.Time     `json:"at"`
	Grace    time.Duration `json:"grace"`
	Deadline time.Time     `json:"deadline"`
	// Ran tells that a container of the pod had been started when the stop was decided.
	Ran bool `json:"ran,omitempty"`
	// Annotations are for the event that tells of the stop.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// ContainerMemory is what is remembered of one container.
type ContainerMemory struct {
	// Backoff delays the next start after a crash.
	Backoff Backoff `json:"backoff,omitzero"`
	// PostStart and PreStop tell how far the hooks of one instance got.
	PostStart Hook `json:"postStart,omitzero"`
	PreStop   Hook `json:"preStop,omitzero"`
	// Term is when one instance was first told to end; from then on it has at least two seconds.
	Term Term `json:"term,omitzero"`
	// Proven is what the probes last said of one instance, so that another life of the agent need not doubt it.
	Proven Proven `json:"proven,omitzero"`
	// Kill is the decision to end one instance while the pod goes on.
	Kill Kill `json:"kill,omitzero"`
	// Given is what the runtime was told of the resources of one instance, where that instance does not carry it itself.
	Given GivenTo `json:"given,omitzero"`
}

// Backoff is the crash back-off of one container (behaviours 137-139).
type Backoff struct {
	// Delay is the pause that the next exit earns; zero before the first restart.
	Delay time.Duration `json:"delay,omitempty"`
	// Updated is when Delay last grew.
	Updated time.Time `json:"updated,omitzero"`
	// For is the ID of the ended instance that Until was worked out for.
	For   string    `json:"for,omitempty"`
	Until time.Time `json:"until,omitzero"`
	// Of identifies the definition the history belongs to: another definition starts a new history.
	Of string `json:"of,omitempty"`
}

// Hook is the progress of a lifecycle hook of one container instance.
type Hook struct {
	// ID is the instance; a hook of another instance counts as not begun.
	ID      string    `json:"id,omitempty"`
	Began   time.Time `json:"began,omitzero"`
	Done    bool      `json:"done,omitempty"`
	Failure string    `json:"failure,omitempty"`
}

// Term is the moment an instance was first told to end.
type Term struct {
	ID string    `json:"id,omitempty"`
	At time.Time `json:"at,omitzero"`
}

// Proven is what the probes last said of an instance.
type Proven struct {
	ID      string `json:"id,omitempty"`
	Started bool   `json:"started,omitempty"`
	Ready   bool   `json:"ready,omitempty"`
}

// Kill is the decision to end one container instance.
type Kill struct {
	ID       string        `json:"id,omitempty"`
	Why      string        `json:"why,omitempty"`
	At       time.Time     `json:"at,omitzero"`
	Grace    time.Duration `json:"grace,omitempty"`
	Deadline time.Time     `json:"deadline,omitzero"`
	// Restart makes the container start again whatever its restart policy (behaviour 89).
	Restart bool `json:"restart,omitempty"`
	// All tells that all containers of the pod were ended to be restarted, without hooks (behaviour 114).
	All bool `json:"all,omitempty"`
}

// Failure is what is known of an effect that failed last time.
type Failure struct {
	Count   int           `json:"count"`
	Reason  string        `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
	Class   Class         `json:"class,omitempty"`
	Since   time.Time     `json:"since"`
	At      time.Time     `json:"at"`
	Delay   time.Duration `json:"delay"`
	RetryAt time.Time     `json:"retryAt"`
	// Of is the image that could not be had and the logins it was asked for with, or the content that would not do: another
	// one is tried at once (behaviours 71, 156).
	Of string `json:"of,omitempty"`
}

// Session is what this process found out and can find out again.
type Session struct {
	// Made tells that directories and cgroup of the pod are there.
	Made bool
	// Grown is the mark of the allocation that the pod's cgroup has room for.
	Grown uint64
	// Attempts is the highest attempt known of a container, by name: from the log directory (behaviour 61), from the
	// runtime, or begun by this process.
	Attempts map[string]uint32
	// Volumes holds the volumes that are set up, each with what its content was made from (see Facts.Content).
	Volumes map[string]uint64
	// Images holds what the image of the next attempt of a container resolved to, by container name.
	Images map[string]ResolvedImage
	// VolumeImages holds what the images of image volumes resolved to, by volume.
	VolumeImages map[string]ResolvedImage
	// Hooks holds the hooks this process began, as "PreStop <container ID>".
	Hooks map[string]bool
	// Read holds the IDs of ended containers whose termination message was read.
	Read map[string]bool
	// Stale is when something happened in the runtime whose result is not known: only an inspection that began
	// later can be trusted.
	Stale time.Time
	// Claimed tells that the pod's ResourceClaims are prepared, Unclaimed that nothing of them is any more.
	Claimed, Unclaimed bool
	// Torn tells that volumes, Unmade that cgroup, Forgotten that directories of the pod are gone.
	Torn, Unmade, Forgotten bool
	// Rested tells that an ended pod uses nothing of the node any more but records and logs: its object may be deleted
	// (behaviour 280).
	Rested bool
}

// ResolvedImage is an image that is present on the node for one attempt of a container.
type ResolvedImage struct {
	Attempt uint32
	// Name is what the specification called it.
	Name string
	ID   string
	// User is the numeric uid or the name the image wants to run as; empty if it names none.
	User string
}

// Clone returns a copy whose maps may be changed.
func (k Kept) Clone() Kept {
	k.Containers = maps.Clone(k.Containers)
	k.Failures = maps.Clone(k.Failures)
	k.VolumeImages = maps.Clone(k.VolumeImages)
	if k.Stop != nil {
		s := *k.Stop
		s.Annotations = maps.Clone(s.Annotations)
		k.Stop = &s
	}
	if k.Pending != nil {
		p := *k.Pending
		k.Pending = &p
	}
	if k.Resizing != nil {
		r := *k.Resizing
		k.Resizing = &r
	}
	if k.Renewal != nil {
		r := *k.Renewal
		r.Since = maps.Clone(r.Since)
		k.Renewal = &r
	}
	return k
}

// Clone returns a copy whose maps may be changed.
func (s Session) Clone() Session {
	s.Attempts = maps.Clone(s.Attempts)
	s.Volumes = maps.Clone(s.Volumes)
	s.Images = maps.Clone(s.Images)
	s.VolumeImages = maps.Clone(s.VolumeImages)
	s.Hooks = maps.Clone(s.Hooks)
	s.Read = maps.Clone(s.Read)
	return s
}

// Clone returns a copy whose maps may be changed.
func (m Memory) Clone() Memory {
	m.Kept, m.Session = m.Kept.Clone(), m.Session.Clone()
	return m
}

// Rebase makes memory that was read from the ledger safe against a clock that was set back meanwhile: no pause
// and no deadline may be further away than it was when it was decided.
func (k Kept) Rebase(now time.Time) Kept {
	k = k.Clone()
	k.rebase(now)
	return k
}

func (k *Kept) rebase(now time.Time) {
	nearer := func(t *time.Time, most time.Duration) {
		if t.Sub(now) > most {
			*t = now.Add(most)
		}
	}
	if !k.Admitted.IsZero() {
		nearer(&k.Admitted, 0)
	}
	if k.Pending != nil {
		nearer(&k.Pending.Since, 0)
	}
	if k.Resizing != nil {
		nearer(&k.Resizing.At, 0)
	}
	if k.Stop != nil {
		nearer(&k.Stop.Deadline, k.Stop.Grace)
	}
	for name, c := range k.Containers {
		nearer(&c.Backoff.Until, c.Backoff.Delay)
		nearer(&c.Kill.Deadline, c.Kill.Grace)
		nearer(&c.Term.At, 0)
		k.Containers[name] = c
	}
	for subject, f := range k.Failures {
		nearer(&f.RetryAt, f.Delay)
		k.Failures[subject] = f
	}
}
