package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// settled is how long a registration must have held for the next one to go at once: whoever deletes the Node object
// again and again is not raced.
const settled = time.Minute

var errNotMade = errors.New("it does not exist, and registerNode is false: somebody else must create it")

// member is the node's membership during one run.
//
//	          absent: create            deleted: 404, or gone from the watch and from the API
//	unknown ──────────────► registered ──────────────► unknown
//	          there: adopt              replaced: another UID
type member struct {
	*Loop
	try attempts

	// base is the Node object as the API server has it, as far as is known; nil while the node is not registered.
	base *v1.Node
	// seen tells that the watch has shown base; before that, its silence says nothing.
	seen bool
	// doubt tells that the API server must be asked what there is.
	doubt bool
	// sureAt is when the API server last told that base is there.
	sureAt time.Time
	// absent tells that there was no object when it was looked for.
	absent bool
	// gone is an object known to be deleted; the watch may show it for a moment yet.
	gone types.UID
	// again is set once the object was deleted, until it is made again.
	again        bool
	registeredAt time.Time
	regret       time.Duration

	// reportAt is when a status is due that has not changed; roundAt is when all is looked at anew.
	reportAt, roundAt time.Time
	soon, urgent      pace
	ignored           ignored

	greeting greeting
}

// ignored is what the API server did not take over from a status it accepted, such as a field it does not know: it is
// not sent again and again.
type ignored struct {
	sent    v1.NodeStatus
	version string
}

func newMember(l *Loop) *member {
	return &member{
		Loop: l,
		try: attempts{what: "registering the node or reporting its status", log: l.cfg.Log.With("node", l.cfg.Name), tell: func(t Trouble) {
			l.change(func(s *State) { s.Node = t })
		}},
		soon:   pace{first: 100 * time.Millisecond, most: 2 * time.Second},
		urgent: pace{first: 50 * time.Millisecond, most: time.Second},
	}
}

func (m *member) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	back := m.cfg.Back() // kept until it is heard: it tells once only
	for ctx.Err() == nil {
		facts, moreFacts := m.cfg.Facts()
		node, known, newerNode := m.cfg.Node()
		m.greeting.say(m.Loop, facts)
		timer.Reset(time.Until(m.turn(ctx, facts, view{node, known})))
		select {
		case <-ctx.Done():
		case <-moreFacts:
		case <-newerNode:
		case <-back:
			m.try.hurry()
			back = m.cfg.Back()
		case <-timer.C:
		}
	}
}

// view is what the watch shows.
type view struct {
	node  *v1.Node
	known bool
}

// turn does what can be done now, and returns when to look again at the latest.
func (m *member) turn(ctx context.Context, f nodestatus.Facts, v view) time.Time {
	now := time.Now()
	if f.Name == "" {
		return now.Add(m.cfg.UpdateEvery) // until something is known
	}
	m.look(v, now)
	round := !now.Before(m.roundAt)
	if round {
		m.roundAt = now.Add(about(m.cfg.UpdateEvery, 0.04))
	}
	if now.Before(m.try.at) {
		return m.try.at
	}
	var wake time.Time
	var err error
	switch {
	case m.base == nil:
		err = m.register(ctx, f, v)
	case m.doubt:
		err = m.verify(ctx)
	default:
		wake, err = m.report(ctx, f, round)
	}
	if ctx.Err() != nil {
		return now
	}
	if err != nil {
		m.try.failed(err, time.Now())
		return m.try.at
	}
	if wake.IsZero() { // a step was done, and the next can follow
		return time.Now()
	}
	return earliest(wake, m.roundAt)
}

// look takes in what the watch shows.
func (m *member) look(v view, now time.Time) {
	switch {
	case !v.known:
	case m.base == nil:
		if m.absent && v.node != nil && v.node.UID != m.gone {
			m.absent = false
			m.try.hurry()
		}
	case v.node == nil: // the watch is late, unless it has shown the object before, or is silent for long
		m.doubt = m.doubt || m.seen || now.Sub(m.sureAt) > m.cfg.UpdateEvery
	case v.node.UID == m.base.UID && newer(v.node, m.base):
		m.seen = true
		m.take(v.node)
	case v.node.UID == m.base.UID:
		m.seen = true
		m.doubt = m.doubt || m.behind(v, now)
	case v.node.UID != m.gone && newer(v.node, m.base):
		m.replaced()
	default:
		m.doubt = m.doubt || m.behind(v, now)
	}
}

// behind tells that the watch has shown an older version for long: the API server's store may have been put back to it.
func (m *member) behind(v view, now time.Time) bool {
	return v.node.ResourceVersion != m.base.ResourceVersion && now.Sub(m.sureAt) > m.cfg.UpdateEvery
}

// newer compares two versions of an object, or of two objects of one name.
func newer(a, b *v1.Node) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	if err != nil { // a server that counts otherwise: believe what comes
		return a.ResourceVersion != b.ResourceVersion
	}
	return order > 0
}

// take makes n what is known of the object (behaviour 300).
func (m *member) take(n *v1.Node) {
	if m.base != nil && m.base.Spec.Unschedulable != n.Spec.Unschedulable {
		word := reason.NodeSchedulable
		if n.Spec.Unschedulable {
			word = reason.NodeNotSchedulable
		}
		m.cfg.Notes(nodestatus.StatusNote(m.cfg.Name, word, time.Now()))
	}
	m.base = lean(n)
}

// lean is an object without what is of no use here, and may be longer than all the rest.
func lean(n *v1.Node) *v1.Node {
	if n.ManagedFields == nil {
		return n
	}
	out := *n
	out.ManagedFields = nil
	return &out
}

// register makes the Node object, or adopts the one there is (behaviour 285).
func (m *member) register(ctx context.Context, f nodestatus.Facts, v view) error {
	existing, err := m.existing(ctx, v)
	switch {
	case err != nil:
		return err
	case existing != nil:
		return m.adopt(ctx, f, existing)
	case !m.cfg.Register:
		return fmt.Errorf("node %s: %w", m.cfg.Name, errNotMade)
	}
	object := nodestatus.Object(f, time.Now())
	created, err := m.cfg.Cluster.CreateNode(ctx, object)
	switch {
	case err == nil:
	case apierrors.IsAlreadyExists(err): // since it was looked for, or the watch is late
		m.doubt = true
		if existing, err = m.existing(ctx, v); err != nil {
			return err
		}
		if existing == nil {
			return fmt.Errorf("register node %s: it comes and goes", m.cfg.Name)
		}
		return m.adopt(ctx, f, existing)
	default:
		return fmt.Errorf("register node %s: %w", m.cfg.Name, err)
	}
	m.cfg.Log.Info("the node was registered", "node", m.cfg.Name, "uid", created.UID)
	m.registered(created)
	m.reported(created, object.Status, true)
	if m.again {
		m.note(note.Warning, reason.NodeRegisteredAgain, fmt.Sprintf("The Node object of %s was deleted while its agent was running, and has been made again.", m.cfg.Name))
	} else {
		m.tell(v1.NodeStatus{}, object.Status)
	}
	m.again = false
	return nil
}

// existing is the Node object of this name, or nil if there is none.
func (m *member) existing(ctx context.Context, v view) (*v1.Node, error) {
	if v.known && !m.doubt && (v.node == nil || v.node.UID != m.gone) {
		m.absent = v.node == nil
		return v.node, nil
	}
	n, err := m.cfg.Cluster.GetNode(ctx, m.cfg.Name)
	switch {
	case apierrors.IsNotFound(err):
		n = nil
		m.absent = true
	case err != nil:
		return nil, fmt.Errorf("look for node %s: %w", m.cfg.Name, err)
	}
	m.doubt = false
	return n, nil
}

func (m *member) adopt(ctx context.Context, f nodestatus.Facts, n *v1.Node) error {
	if m.cfg.Register {
		patch, err := nodestatus.Adopt(n, f)
		if err != nil {
			return err
		}
		if patch != nil {
			uid := n.UID
			if n, err = m.cfg.Cluster.PatchNode(ctx, m.cfg.Name, patch); err != nil {
				if apierrors.IsNotFound(err) {
					m.gone = uid
				}
				m.doubt = true
				return fmt.Errorf("adopt node %s: %w", m.cfg.Name, err)
			}
		}
	}
	m.cfg.Log.Info("the node's object was there already and is used", "node", m.cfg.Name, "uid", n.UID)
	m.again = false
	m.registered(n)
	return nil
}

// registered begins to keep a Node object.
func (m *member) registered(n *v1.Node) {
	now := time.Now()
	m.base, m.seen, m.doubt, m.ignored = lean(n), false, false, ignored{}
	m.registeredAt, m.sureAt, m.reportAt = now, now, now
	m.try.worked(now)
	m.object.Set(n.UID)
	m.change(func(s *State) { s.Registered, s.UID = true, n.UID })
}

// unregistered ends that. The object is deleted, or another one.
func (m *member) unregistered() {
	m.gone, m.base, m.doubt = m.base.UID, nil, false
	m.object.Set("")
	m.change(func(s *State) { s.Registered, s.UID = false, "" })
}

// deleted makes the node register again (unlike behaviour 303).
func (m *member) deleted() {
	now := time.Now()
	m.cfg.Log.Warn("the Node object was deleted", "node", m.cfg.Name, "uid", m.base.UID, "register", m.cfg.Register)
	m.unregistered()
	m.again = true
	if m.regret = retries.Next(m.regret); now.Sub(m.registeredAt) >= settled {
		m.regret = 0
	}
	m.try.at = now.Add(m.regret)
}

// replaced makes the node adopt an object that came in place of its own.
func (m *member) replaced() {
	m.cfg.Log.Info("the Node object was replaced by another one", "node", m.cfg.Name, "uid", m.base.UID)
	m.unregistered()
}

// verify asks the API server what became of the object.
func (m *member) verify(ctx context.Context) error {
	n, err := m.cfg.Cluster.GetNode(ctx, m.cfg.Name)
	switch {
	case apierrors.IsNotFound(err):
		m.deleted()
		return nil
	case err != nil:
		return fmt.Errorf("look for node %s: %w", m.cfg.Name, err)
	}
	if n.UID != m.base.UID {
		m.replaced()
		m.doubt = true // the watch is late
		return nil
	}
	m.doubt, m.seen, m.sureAt = false, false, time.Now()
	m.take(n)
	return nil
}
