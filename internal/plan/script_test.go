package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// do plays one line of a script:
//
//	pod NAME [restart=P] [grace=S] [deadline=S] [init=a,s*,b] [containers=a,b] [volumes=v] [configmaps=v] [prestop=a,b] [poststart=a]
//	    [imagevolumes=v] [claims=c] [templates=c] [startup=a] [policy=a:P] [sizes=a:R/L:R/L,…] [replace=a:RESOURCE] [foreign] [rule=a:In:42,43] [all=a:In:88] [host] [over] [started=-D] [unwanted] [uninspected]      a star marks a
//	    sidecar; rule and all are rules about exit codes, the action of all is to restart all containers
//	EFFECT takes 5s | hangs | happens unheard | fails [N times] [soon] [REASON | missing] | works | will work
//	                                                EFFECT as in a plan, without #N; "works" also ends what hangs
//	exit NAME [code=N] [after=D] [unseen]           a process ends, and the runtime tells (or does not)
//	pass D                                          time goes by
//	healthy | unhealthy NAME [grace=S]              what the probes of a running container say
//	sandbox lost [alive]                            its processes die (or do not)
//	cgroup lost                                     when the agent looks next, the pod has none
//	no addresses | addresses                        what the network gives to the next sandboxes
//	lose track of NAME | vanish NAME                the runtime does not know what a container does, or has it no more
//	second sandbox                                  somebody else makes one
//	appear NAME [running]                           somebody else makes a container in the pod
//	relist                                          an inspection that nobody asked for
//	over                                            the API says that the pod has ended
//	remove | return | delete grace=S | order REASON grace=S [own=yes]      what the source or the node wants
//	image NAME=IMAGE | debug NAME                   the definition is edited, or an ephemeral container added
//	network | runtime up | down ; sources silent | ready ; probing on | off ; rival UID | gone
//	admission waits | yes | no REASON
//	crash agent [away=D] [amnesia] | reboot         it starts again; a reboot ends all processes
//	clock back D ; cap D ; logs NAME=N
//	keep dead=N [age=D] | doom NAME#N               how many ended instances stay; one that does not
//	staying                                         the node's orders are over, and the machine does not go down
//	content N                                       an object changed that the pod's volumes are made from
//	claim NAME                                      a ResourceClaim is made from a template of the pod
//	size NAME=CPU:MEMORY                            other resources are wanted, as with sizes
//	room yes | silent | Deferred | Infeasible       what admission says of that
//	list                                            what the runtime has
func (p *play) do(line string) {
	words := strings.Fields(line)
	if p.effect(line) {
		return
	}
	p.tick()
	args := arguments(words[1:])
	switch words[0] {
	case "pod":
		p.pod(args)
	case "exit":
		p.goOn(duration(args["after"]))
		p.exit(p.live(words[1]), int32(number(args["code"])))
		if _, unseen := args["unseen"]; !unseen {
			p.event()
		}
	case "pass":
		p.goOn(duration(words[1]))
	case "healthy", "unhealthy":
		p.probe(words[1], words[0] == "healthy", args)
	case "sandbox":
		p.sandbox(words[1:])
	case "lose":
		p.change(p.live(words[3]), func(c *pod.Container) { c.State = pod.Unknown })
		p.event()
	case "vanish":
		id := p.newest(words[1])
		p.containers = slices.DeleteFunc(p.containers, func(c pod.Container) bool { return c.ID == id })
		p.seen = p.seen.Merge(*p.look())
	case "relist":
		p.seen = p.seen.Merge(*p.look())
	case "crash":
		p.now = p.now.Add(duration(args["away"]))
		if _, amnesia := args["amnesia"]; amnesia {
			p.memory.Kept = Kept{}
		}
		p.crash()
	case "no", "addresses":
		p.noAddress = words[0] == "no"
	case "reboot":
		for _, s := range p.sandboxes {
			p.stopSandbox(s.ID)
		}
		p.crash()
	case "clock":
		p.setBack(duration(words[2]))
	case "logs":
		for name, n := range args {
			p.logs[name] = uint32(number(n))
		}
	case "list":
		p.list()
	case "second":
		p.ids++
		s := pod.Sandbox{ID: fmt.Sprint("s", p.ids), Attempt: 1, Ready: true, CreatedAt: p.now, IPs: []string{"10.0.0.2"}}
		p.sandboxes = append(p.sandboxes, s)
	case "appear":
		p.ids++
		c := pod.Container{ID: fmt.Sprint("c", p.ids), Name: words[1], Attempt: 99, State: pod.Created, CreatedAt: p.now}
		if _, running := args["running"]; running {
			c.State = pod.Running
		}
		p.containers = append(p.containers, c)
		p.event()
	default:
		if !p.tell(words, args) {
			p.edit(words, args)
		}
	}
	if p.desired != nil {
		p.settle()
	}
}

// effect plays a line that says how an effect behaves from now on.
func (p *play) effect(line string) bool {
	for _, verb := range []string{" takes ", " hangs", " happens unheard", " fails", " works", " will work"} {
		subject, rest, found := strings.Cut(line, verb)
		if !found {
			continue
		}
		if !slices.ContainsFunc(kindNames[1:], func(kind string) bool { return subject == kind || strings.HasPrefix(subject, kind+" ") }) {
			p.t.Fatalf("%q is no effect", subject)
		}
		m := manner{hangs: verb == " hangs", unheard: verb == " happens unheard"}
		switch verb {
		case " takes ":
			m.takes = duration(rest)
		case " fails":
			m.fails = -1
			for _, w := range strings.Fields(rest) {
				if n, err := strconv.Atoi(w); err == nil {
					m.fails = n
				} else if w == "soon" {
					m.class = Soon
				} else if w != "times" && w != "time" {
					m.reason = w
				}
			}
		}
		p.manner[subject] = m
		if verb != " will work" {
			p.hurry(subject, m)
		}
		return true
	}
	return false
}

// hurry lets effects that hang come to their end.
func (p *play) hurry(subject string, m manner) {
	for _, f := range p.flights {
		if f.effect.Subject() == subject && !m.hangs && !m.unheard {
			f.end = p.now.Add(m.takes)
		}
	}
	if p.desired != nil {
		p.settle()
	}
}

// tell plays what the node says; false if the line is about something else.
func (p *play) tell(words []string, args map[string]string) bool {
	arg := words[len(words)-1]
	switch words[0] {
	case "order":
		p.facts.Order = &Order{Reason: words[1], Message: "by order", Grace: seconds(args["grace"]), Own: args["own"] != ""}
	case "staying":
		p.facts.Order, p.facts.Staying = nil, true
	case "network":
		p.facts.NetworkReady, p.facts.NetworkMessage = arg == "up", "cni is "+arg
	case "runtime":
		p.facts.RuntimeUp, p.facts.RuntimeMessage = arg == "up", "containerd is "+arg
	case "sources":
		p.facts.SourcesReady = arg == "ready"
	case "probing":
		p.facts.Probing = arg == "on"
	case "rival":
		p.facts.Rival = types.UID(strings.TrimPrefix(arg, "gone"))
	case "admission":
		p.facts.Verdict = Verdict{Judged: words[1] != "waits", Admit: words[1] == "yes", Reason: arg, Message: "because"}
	case "content":
		p.facts.Content = uint64(number(arg))
	case "logins":
		p.facts.Logins = uint64(number(arg))
	case "room":
		p.room = Resize{Fits: arg == "yes"}
		if arg == reason.Deferred || arg == reason.Infeasible {
			p.room = Resize{Reason: arg, Message: "because"}
		}
	case "cap":
		p.facts.CrashCap = duration(arg)
	case "keep":
		p.facts.Keep = &Keep{Dead: int(number(args["dead"])), MinAge: duration(args["age"])}
	case "cgroup":
		p.noCgroup = true
	case "doom":
		if p.facts.Doomed == nil {
			p.facts.Doomed = map[string]bool{}
		}
		for _, c := range p.seen.Containers {
			if words[1] == c.Name+"#"+strconv.Itoa(int(c.Attempt)) {
				p.facts.Doomed[c.ID] = true
			}
		}
	default:
		return false
	}
	return true
}

// edit plays what the source says.
func (p *play) edit(words []string, args map[string]string) {
	d := *p.desired
	d.Pod = d.Pod.DeepCopy()
	p.desired = &d
	switch words[0] {
	case "remove", "return":
		d.Wanted = words[0] == "return"
	case "over":
		d.Over = true
	case "delete":
		d.Deletion = &pod.Deletion{At: p.now, Grace: seconds(args["grace"])}
	case "size":
		d.Pod.Generation++
		for name, text := range args {
			if c, _ := pod.FindContainer(d.Pod, name); c != nil {
				c.Resources = sized(text)
			}
		}
	case "image":
		for _, list := range [][]v1.Container{d.Pod.Spec.InitContainers, d.Pod.Spec.Containers} {
			for i := range list {
				if image, ok := args[list[i].Name]; ok {
					list[i].Image = image
				}
			}
		}
	case "claim":
		d.Pod.Status.ResourceClaimStatuses = append(d.Pod.Status.ResourceClaimStatuses, v1.PodResourceClaimStatus{Name: words[1], ResourceClaimName: new("web-" + words[1])})
	case "debug":
		e := v1.EphemeralContainer{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: words[1], Image: words[1]}}
		d.Pod.Spec.EphemeralContainers = append(d.Pod.Spec.EphemeralContainers, e)
	default:
		p.t.Fatalf("nobody knows how to %q", words[0])
	}
}

func (p *play) pod(args map[string]string) {
	always := v1.ContainerRestartPolicyAlways
	spec := v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways}
	if r := args["restart"]; r != "" {
		spec.RestartPolicy = v1.RestartPolicy(r)
	}
	if g := args["grace"]; g != "" {
		spec.TerminationGracePeriodSeconds = new(number(g))
	}
	if a := args["deadline"]; a != "" {
		spec.ActiveDeadlineSeconds = new(number(a))
	}
	_, spec.HostNetwork = args["host"]
	for _, name := range list(args["init"]) {
		c := v1.Container{Name: strings.TrimSuffix(name, "*")}
		if c.Name != name {
			c.RestartPolicy = &always
		}
		spec.InitContainers = append(spec.InitContainers, p.define(c, args))
	}
	for _, name := range list(args["containers"]) {
		spec.Containers = append(spec.Containers, p.define(v1.Container{Name: name}, args))
	}
	for _, name := range list(args["volumes"]) {
		spec.Volumes = append(spec.Volumes, v1.Volume{Name: name})
	}
	for _, name := range list(args["imagevolumes"]) {
		spec.Volumes = append(spec.Volumes, v1.Volume{Name: name, VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: name}}})
	}
	for _, name := range list(args["claims"]) {
		spec.ResourceClaims = append(spec.ResourceClaims, v1.PodResourceClaim{Name: name, ResourceClaimName: new(name)})
	}
	for _, name := range list(args["templates"]) {
		spec.ResourceClaims = append(spec.ResourceClaims, v1.PodResourceClaim{Name: name, ResourceClaimTemplateName: new(name)})
	}
	for _, name := range list(args["configmaps"]) {
		spec.Volumes = append(spec.Volumes, v1.Volume{Name: name, VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{}}})
	}
	_, unwanted := args["unwanted"]
	_, p.foreign = args["foreign"]
	p.desired = &pod.Desired{
		Pod:    &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u1"}, Spec: spec},
		Source: pod.FromFile, Seen: p.now, Wanted: !unwanted,
	}
	_, p.desired.Over = args["over"]
	if since, ok := args["started"]; ok {
		p.desired.Source = pod.FromAPI
		p.desired.Pod.Status.StartTime = &metav1.Time{Time: p.now.Add(duration(since)).Truncate(time.Second)}
	}
	if unwanted {
		p.desired.Source = pod.FromRuntime
	}
	if _, skip := args["uninspected"]; !skip {
		p.seen = p.seen.Merge(*p.look())
	}
}

func (p *play) define(c v1.Container, args map[string]string) v1.Container {
	c.Image = c.Name
	for _, name := range list(args["imagevolumes"]) {
		c.VolumeMounts = append(c.VolumeMounts, v1.VolumeMount{Name: name})
	}
	for _, text := range list(args["sizes"]) {
		if name, sizes, _ := strings.Cut(text, ":"); name == c.Name {
			c.Resources = sized(sizes)
		}
	}
	if name, what, ok := strings.Cut(args["replace"], ":"); ok && name == c.Name {
		c.ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: v1.ResourceName(what), RestartPolicy: v1.RestartContainer}}
	}
	hook := &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}
	if slices.Contains(list(args["prestop"]), c.Name) {
		c.Lifecycle = &v1.Lifecycle{PreStop: hook}
	}
	if slices.Contains(list(args["poststart"]), c.Name) {
		if c.Lifecycle == nil {
			c.Lifecycle = &v1.Lifecycle{}
		}
		c.Lifecycle.PostStart = hook
	}
	if slices.Contains(list(args["startup"]), c.Name) {
		c.StartupProbe = &v1.Probe{}
	}
	if name, policy, ok := strings.Cut(args["policy"], ":"); ok && name == c.Name {
		c.RestartPolicy = new(v1.ContainerRestartPolicy(policy))
	}
	for _, text := range strings.Split(args["rule"]+";"+args["all"], ";") {
		f := strings.Split(text, ":")
		if len(f) != 3 || f[0] != c.Name {
			continue
		}
		on := &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOperator(f[1])}
		for _, v := range list(f[2]) {
			on.Values = append(on.Values, int32(number(v)))
		}
		action := v1.ContainerRestartRuleActionRestart
		if text == args["all"] {
			action = v1.ContainerRestartRuleActionRestartAllContainers
		}
		c.RestartPolicyRules = append(c.RestartPolicyRules, v1.ContainerRestartRule{Action: action, ExitCodes: on})
	}
	return c
}

// goOn lets time go by: whatever is due meanwhile happens when it is due.
func (p *play) goOn(d time.Duration) {
	end := p.now.Add(d)
	for {
		next := end
		sooner := func(at time.Time) {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		sooner(p.last.WakeAt)
		for _, f := range p.flights {
			sooner(f.end)
		}
		if next.After(p.now) {
			p.now = next
		}
		p.settle()
		if next.Equal(end) {
			return
		}
	}
}

func (p *play) probe(name string, healthy bool, args map[string]string) {
	h := Health{Started: true, Ready: healthy}
	if !healthy {
		h.Failed = "Container " + name + " failed liveness probe, will be restarted"
		if g := args["grace"]; g != "" {
			h.Grace = new(seconds(g))
		}
	}
	p.facts.Health = map[string]Health{p.live(name): h}
}

func (p *play) sandbox(words []string) {
	for i := range p.sandboxes {
		s := &p.sandboxes[i]
		switch strings.Join(words, " ") {
		case "lost":
			p.stopSandbox(s.ID)
		case "lost alive":
			s.Ready, s.IPs = false, nil
		default:
			p.t.Fatalf("a sandbox cannot be %q", words)
		}
	}
	p.seen = p.seen.Merge(*p.look())
}

// setBack sets the node's clock back. Times that the agent itself has read keep their distance from now, because they
// carry a monotonic reading; those that came from the runtime, and after a crash all in the ledger, lie that much later.
func (p *play) setBack(d time.Duration) {
	for i := range p.containers {
		if c := &p.containers[i]; !c.FinishedAt.IsZero() {
			c.FinishedAt = c.FinishedAt.Add(d)
		}
	}
	for name, m := range p.memory.Kept.Containers {
		if m.Backoff.For != "" {
			m.Backoff.Until, m.Backoff.Updated = m.Backoff.Until.Add(d), m.Backoff.Updated.Add(d)
			p.memory.Kept.Containers[name] = m
		}
	}
	p.skew += d
}

// skewed is what the ledger's times look like after the clock was set back.
func (p *play) skewed(k Kept) Kept {
	k.Admitted = k.Admitted.Add(p.skew)
	if k.Stop != nil {
		k.Stop.Deadline = k.Stop.Deadline.Add(p.skew)
	}
	for name, m := range k.Containers {
		m.Kill.Deadline = m.Kill.Deadline.Add(p.skew)
		k.Containers[name] = m
	}
	for subject, f := range k.Failures {
		f.RetryAt = f.RetryAt.Add(p.skew)
		k.Failures[subject] = f
	}
	p.skew = 0
	return k
}

// crash ends the agent and starts it again: what is not in the ledger is forgotten, calls under way are cut off.
func (p *play) crash() {
	text, err := json.Marshal(p.memory.Kept)
	if err != nil {
		p.t.Fatal(err)
	}
	p.memory = Memory{}
	if err := json.Unmarshal(text, &p.memory.Kept); err != nil {
		p.t.Fatal(err)
	}
	p.memory.Kept = p.skewed(p.memory.Kept).Rebase(p.now)
	p.flights, p.facts.Health = nil, nil
	p.seen = pod.Observed{}.Merge(*p.look())
}

// list writes what the runtime has.
func (p *play) list() {
	var all []string
	for _, s := range p.sandboxes {
		all = append(all, fmt.Sprintf("sandbox #%d ready=%v", s.Attempt, s.Ready))
	}
	for _, c := range p.containers {
		text := fmt.Sprintf("%s#%d %s", c.Name, c.Attempt, c.State)
		if c.State == pod.Exited {
			text += fmt.Sprintf("(%d)", c.ExitCode)
		} else if g := p.has[c.ID]; g != (Given{}) {
			text += " with " + sizesText(g.Sizes)
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		all = []string{"nothing"}
	}
	fmt.Fprintf(&p.out, "%s there is %s\n", p.clock(p.now), strings.Join(all, ", "))
}

func (p *play) change(id string, change func(*pod.Container)) {
	for i := range p.containers {
		if p.containers[i].ID == id {
			change(&p.containers[i])
		}
	}
}

// live is the ID of the live instance of a container.
func (p *play) live(name string) string {
	for _, c := range p.containers {
		if c.Name == name && c.Live() {
			return c.ID
		}
	}
	p.t.Fatalf("%s does not run:\n%s", name, p.out.String())
	return ""
}

func (p *play) newest(name string) string {
	id := ""
	for _, c := range p.containers {
		if c.Name == name {
			id = c.ID
		}
	}
	return id
}

// arguments reads name=value words; a word alone is its own name with an empty value.
func arguments(words []string) map[string]string {
	out := map[string]string{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		out[name] = value
	}
	return out
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func seconds(text string) time.Duration { return time.Duration(number(text)) * time.Second }

func duration(text string) time.Duration {
	d, _ := time.ParseDuration(text)
	return d
}
