package plan

import (
	"strconv"
	"time"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/pod"
)

// Kind is what an effect does.
type Kind uint8

// The kinds of effects. The comment names the fields of Effect that a kind uses.
const (
	Look            Kind = iota + 1 // inspect the pod in the runtime
	MakePod                         // directories, log directory, cgroup
	SetupVolume                     // Volume, Content
	PrepareClaims                   // Content: all ResourceClaims of the pod
	EnsureImage                     // Container, Attempt, Image, Content; or Volume, Image, Content, and ID if it was there before
	RunSandbox                      // Attempt
	CreateContainer                 // Container, Attempt, SandboxID, Image, Content
	StartContainer                  // Container, Attempt, ID
	PostStart                       // Container, ID
	PreStop                         // Container, ID, Deadline
	StopContainer                   // Container, ID, Deadline, Why
	ReadEnd                         // Container, ID, Attempt: the termination message
	UpdateContainer                 // Container, ID, Attempt, Given, Lowers, Content
	RemoveContainer                 // Container, ID, Attempt
	StopSandbox                     // ID, Attempt
	RemoveSandbox                   // ID, Attempt
	UnprepareClaims                 // Content: all ResourceClaims of the pod
	TearVolumes                     // all volumes of the pod
	GrowPod                         // Content, Why: room in the pod's cgroup for what it was given; never at once with SettlePod
	SettlePod                       // Content, Why: the pod's cgroup as what it was given
	TakeDevices                     // Content: what device plugins hand out for the devices of all its containers
	UnmakePod                       // cgroup
	ForgetPod                       // directories and logs of the pod
)

var kindNames = [...]string{
	Look: "look", MakePod: "make pod", SetupVolume: "set up volume", PrepareClaims: "prepare resource claims", EnsureImage: "ensure image", RunSandbox: "run sandbox",
	CreateContainer: "create container", StartContainer: "start container", PostStart: "run postStart of", PreStop: "run preStop of",
	StopContainer: "stop container", ReadEnd: "read the end of", UpdateContainer: "resize container",
	RemoveContainer: "remove container", StopSandbox: "stop sandbox", RemoveSandbox: "remove sandbox",
	UnprepareClaims: "unprepare resource claims", TearVolumes: "tear down volumes", GrowPod: "resize cgroup", SettlePod: "resize cgroup", TakeDevices: "take devices", UnmakePod: "remove cgroup", ForgetPod: "remove directories",
}

// String returns the kind as people read it.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return "effect?"
}

// Effect is one thing that should be in flight. It is a plain value: two effects with the same Key are about the
// same thing; if they are not Same, the newer replaces the older.
type Effect struct {
	Kind      Kind
	Container string
	Volume    string
	Attempt   uint32
	// ID is the runtime's ID of the container, sandbox or image the effect is about.
	ID        string
	SandboxID string
	// Image is the ID of the image to create a container from, or the name of the image that has to be there.
	Image string
	// Deadline is when the effect must be over: hooks are cut, containers killed.
	Deadline time.Time
	// Why is told to people, such as "definition changed"; empty when the pod as a whole is stopped.
	Why string
	// Content is what the volume or the environment is made from (see Facts.Content), or the logins that an image is pulled
	// with (see Facts.Logins).
	Content uint64
	// Given is what the container is to have; Lowers tells that it is less memory than it has.
	Given  Given
	Lowers bool
}

// Key identifies what the effect is about: "stop container app#3". At most one effect per key is in flight.
func (e Effect) Key() string {
	if e.Kind == EnsureImage && e.Container == "" {
		return e.Kind.String() + " of volume " + e.Volume
	}
	switch e.Kind {
	case SetupVolume:
		return e.Kind.String() + " " + e.Volume
	case EnsureImage, CreateContainer, StartContainer, PostStart, PreStop, StopContainer, ReadEnd, UpdateContainer, RemoveContainer:
		return e.Kind.String() + " " + e.Container + "#" + strconv.FormatUint(uint64(e.Attempt), 10)
	case RunSandbox, StopSandbox, RemoveSandbox:
		return e.Kind.String() + " #" + strconv.FormatUint(uint64(e.Attempt), 10)
	case Look, MakePod, PrepareClaims, UnprepareClaims, TearVolumes, GrowPod, SettlePod, TakeDevices, UnmakePod, ForgetPod:
	}
	return e.Kind.String()
}

// Subject is the key without the attempt: failures of it are counted together ("create container app").
func (e Effect) Subject() string {
	if e.Kind == EnsureImage && e.Container == "" {
		return e.Kind.String() + " of volume " + e.Volume
	}
	switch e.Kind {
	case SetupVolume:
		return e.Kind.String() + " " + e.Volume
	case EnsureImage, CreateContainer, StartContainer, PostStart, PreStop, StopContainer, ReadEnd, UpdateContainer, RemoveContainer:
		return e.Kind.String() + " " + e.Container
	case Look, MakePod, PrepareClaims, RunSandbox, StopSandbox, RemoveSandbox, UnprepareClaims, TearVolumes, GrowPod, SettlePod, TakeDevices, UnmakePod, ForgetPod:
	}
	return e.Kind.String()
}

// Same tells whether an effect in flight is still the one that is wanted. A preStop hook whose deadline has come nearer
// is: it must not run again, and is cut when it is no longer wanted.
func (e Effect) Same(other Effect) bool {
	return (e.Kind == PreStop || e.Deadline.Equal(other.Deadline)) && e.withoutTime() == other.withoutTime()
}

func (e Effect) withoutTime() Effect {
	e.Deadline = time.Time{}
	e.Why = ""    // words do not make another errand
	e.Content = 0 // what is being made comes to its end; then it is made anew
	e.Given, e.Lowers = Given{}, false
	return e
}

// InRuntime tells whether the effect changes what the runtime has.
func (e Effect) InRuntime() bool {
	switch e.Kind {
	case RunSandbox, CreateContainer, StartContainer, StopContainer, RemoveContainer, StopSandbox, RemoveSandbox:
		return true
	case Look, MakePod, SetupVolume, PrepareClaims, EnsureImage, PostStart, PreStop, ReadEnd, UpdateContainer, UnprepareClaims, TearVolumes,
		GrowPod, SettlePod, TakeDevices, UnmakePod, ForgetPod: // changing resources once more does no harm
	}
	return false
}

// Makes tells whether the effect may bring a sandbox or a container to life.
func (e Effect) Makes() bool {
	return e.Kind == RunSandbox || e.Kind == CreateContainer || e.Kind == StartContainer
}

// Frees tells whether the effect only looks, ends or removes: it may go on when nothing can be remembered.
func (e Effect) Frees() bool {
	switch e.Kind {
	case Look, PreStop, ReadEnd, StopContainer, RemoveContainer, StopSandbox, RemoveSandbox, UnprepareClaims, TearVolumes, UnmakePod, ForgetPod:
		return true
	case MakePod, SetupVolume, PrepareClaims, EnsureImage, RunSandbox, CreateContainer, StartContainer, PostStart, UpdateContainer, GrowPod, SettlePod, TakeDevices:
	}
	return false
}

// Class says how a failure should be answered.
type Class string

// The classes of failures.
const (
	// Again: try again with growing pauses.
	Again Class = ""
	// Soon: something passing, such as a runtime that is away or a network that is not ready; try again in a second.
	Soon Class = "soon"
	// Cancelled: the agent itself no longer wanted the effect; nothing is remembered.
	Cancelled Class = "cancelled"
)

// Outcome is how an effect ended.
type Outcome struct {
	Effect Effect
	Began  time.Time
	Ended  time.Time
	// Failed is nil when the effect succeeded.
	Failed *Fault
	// Report is what the effect learned of the runtime, nil if nothing.
	Report *pod.Report
	// Image is what EnsureImage resolved.
	Image ResolvedImage
	// Pulled tells how EnsureImage came by the image, for people.
	Pulled *Pulled
	// Handed is what TakeDevices got.
	Handed *allocate.Handed
	// LogAttempts is what MakePod found in the log directory.
	LogAttempts map[string]uint32
	// Uprooted is the ID of the sandbox whose pod has no cgroup, if MakePod found one: it has made none yet.
	Uprooted string
}

// Fault says what went wrong with an effect. Reason is a word of package reason, or empty; Message carries no secrets.
type Fault struct {
	Class   Class
	Reason  string
	Message string
	// Missing tells that the runtime has not got what the effect was about, such as an image that was there before.
	Missing bool
}

// Pulled tells how an image came to the node.
type Pulled struct {
	Image string
	// Present is true when it was there already and nothing was pulled.
	Present bool
	// Open is true when the node does not ask who may use the images that are there.
	Open bool
	// Took is the pull alone, Waited with the time in the queue.
	Took, Waited time.Duration
	Bytes        int64
}

// Seen is what an effect may have to know of the pod when it begins.
type Seen struct {
	Observed pod.Observed
	Memory   Memory
}
