package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
)

// ClientConfig says which client certificate a node uses.
type ClientConfig struct {
	// Kubeconfig is the file that names it (--kubeconfig).
	Kubeconfig string
	// CertDir is where certificates are kept that the API gave (--cert-dir).
	CertDir  string
	NodeName string
	// Rotate has the certificate renewed before it ends (rotateCertificates).
	Rotate bool
	// BootstrapKubeconfig and Connect serve to get a new certificate when the present one has expired; empty and nil: not.
	BootstrapKubeconfig string
	Connect             Connect
	// Renewed is told how long a certificate had lived when the next one took its place, RenewFailed of each attempt that
	// failed. Either may be nil; both must return at once.
	Renewed     func(lived time.Duration)
	RenewFailed func()
	// Notes hears of a certificate that is overdue for renewal, or has expired; may be nil.
	Notes note.Sink
	Log   *slog.Logger

	watch func(*slog.Logger) watcher // for tests
	step  func(string) error         // for tests
	every time.Duration              // for tests
}

// Client is the node's client certificate. It is safe for use by several goroutines.
type Client struct {
	c     ClientConfig
	store *store
	boot  *boot // nil if there is no bootstrap kubeconfig
	board *board
	ages  ageing
	state latest.Cell[State]
	// changed counts the certificates that were taken into use, moved how often the kubeconfig has led elsewhere. server is where it leads
	// now; it belongs to the goroutine of Run.
	changed, moved latest.Cell[uint64]
	server         [sha256.Size]byte
	pair           atomic.Pointer[pair]
	// unkept is why the certificate could not be put into the store, said once. It belongs to the goroutine of Run.
	unkept string
}

// NewClient reads the kubeconfig and its certificate, so that Current can be used before Run has begun. A certificate that cannot be
// used is a Problem of State; the error is for a kubeconfig that cannot be read at all.
func NewClient(c ClientConfig) (*Client, error) {
	if c.NodeName == "" {
		return nil, errors.New("client certificate: want a node name")
	}
	id, err := readIdentity(c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	client := &Client{c: c, store: &store{dir: c.CertDir, name: clientPairs, step: c.step}}
	client.board = newBoard(c.Log, &client.state)
	client.ages = ageing{what: "client", notes: c.Notes}
	if c.BootstrapKubeconfig != "" && c.Connect != nil {
		client.boot = newBoot(BootstrapConfig{Kubeconfig: c.Kubeconfig, BootstrapKubeconfig: c.BootstrapKubeconfig, CertDir: c.CertDir,
			NodeName: c.NodeName, Connect: c.Connect, Log: c.Log, step: c.step}, client.board)
	}
	if c.Rotate && !id.hasCertificate() {
		c.Log.Info("rotateCertificates has nothing to renew: the kubeconfig identifies this node otherwise", "kubeconfig", c.Kubeconfig, "by", id.other)
	}
	client.load(time.Now())
	return client, nil
}

// Current is the certificate for the next connection, nil if the kubeconfig names none that can be used.
func (c *Client) Current() *tls.Certificate {
	if p := c.pair.Load(); p != nil {
		return p.cert
	}
	return nil
}

// Changed counts the certificates; when it moves, connections made with an older one should be made anew.
func (c *Client) Changed() *latest.Cell[uint64] { return &c.changed }

// Moved counts how often the kubeconfig has led another way to the API server than when the client was made: another address,
// authority, proxy or token. It must then be read again.
func (c *Client) Moved() *latest.Cell[uint64] { return &c.moved }

// State tells how the certificate stands.
func (c *Client) State() *latest.Cell[State] { return &c.state }

// Run follows the files and renews the certificate until ctx ends, and returns its error. requests are made with the
// present certificate, and may be nil if it is not to be renewed.
func (c *Client) Run(ctx context.Context, requests Requests) error {
	if err := c.store.tidy(); err != nil {
		c.c.Log.Warn("cannot remove the key of a certificate request that is done", "err", err)
	}
	r := &renewer{board: c.board, log: c.c.Log, failed: c.c.RenewFailed, seed: c.c.NodeName, watch: c.c.watch, every: c.c.every}
	return r.rounds(ctx, func(now time.Time) round { return c.turn(requests, now) })
}

func (c *Client) turn(requests Requests, now time.Time) round {
	files := c.load(now)
	c.adopt(now)
	p := c.pair.Load()
	r := round{files: files}
	if c.boot != nil {
		r.files = append(r.files, c.c.BootstrapKubeconfig)
	}
	if p == nil {
		r.wish, _ = c.rescue() // load has complained
		return r
	}
	c.board.complain(troubleClock, p.clockComplaint(now))
	var renewAt time.Time
	if c.c.Rotate && requests != nil {
		renewAt = p.renewAt()
	}
	c.board.shows(p, renewAt)
	r.at = soonest(now, renewAt, p.leaf.NotBefore, p.leaf.NotAfter.Add(time.Second), c.ages.look(p, renewAt, now))
	if p.expired(now) {
		if w, ok := c.rescue(); ok {
			r.wish = w
			return r
		}
	}
	if !renewAt.IsZero() && !now.Before(renewAt) {
		r.wish = c.renewal(requests, p)
	}
	return r
}

// rescue is the wish for a certificate by way of the bootstrap kubeconfig, when the present one cannot be used.
func (c *Client) rescue() (wish, bool) {
	if c.boot == nil {
		return wish{}, false
	}
	if id, err := readIdentity(c.c.Kubeconfig); err == nil && !id.hasCertificate() && id.other != "" {
		return wish{}, false // a certificate is not how this node identifies itself
	}
	w, err := c.boot.wish()
	return w, err == nil
}

// renewal is the wish for the certificate that follows p.
func (c *Client) renewal(requests Requests, p *pair) wish {
	order := clientOrder(c.c.NodeName)
	return wish{what: "renew", try: func(ctx context.Context) error {
		f := fetch{board: c.board, log: c.c.Log, store: c.store, requests: requests, order: order, present: p, then: func() error {
			if c.c.Renewed != nil {
				c.c.Renewed(time.Since(p.leaf.NotBefore))
			}
			return nil
		}}
		return f.run(ctx)
	}}
}

// load takes the best pair there is into use, and returns the files that matter. While nothing can be used, the last good pair stays.
func (c *Client) load(now time.Time) (files []string) {
	files = []string{c.c.Kubeconfig, c.store.current()}
	id, err := readIdentity(c.c.Kubeconfig)
	if err != nil {
		c.refuse(err)
		return files
	}
	files = append(files, id.files()...)
	c.follow(id)
	best, err := (*pair)(nil), error(nil)
	if id.hasCertificate() {
		best, err = id.pair()
	} else if id.other == "" {
		err = fmt.Errorf("kubeconfig %s: its user has no client certificate and no other way to identify the node", c.c.Kubeconfig)
	}
	if c.c.Rotate && id.hasCertificate() {
		if stored, storedErr := c.store.load(); storedErr == nil && better(stored, best, now) {
			best, err = stored, nil
		}
	}
	if err != nil {
		c.refuse(err)
		return files
	}
	c.board.complain(troubleFiles, "")
	c.use(best)
	return files
}

// follow notes where the kubeconfig leads. An authority that cannot be read, because it is being replaced, changes nothing yet.
func (c *Client) follow(id *identity) {
	leads, err := id.server()
	if err != nil || leads == c.server {
		return
	}
	if c.server != ([sha256.Size]byte{}) {
		c.moved.Set(c.moved.Value() + 1)
	}
	c.server = leads
}

// better tells whether to use a rather than b: one that has not expired, then the one that was issued later. A kubeconfig
// that an operator has just replaced thus wins over what the store has, and a renewed certificate over the one that
// stands in the kubeconfig for good.
func better(a, b *pair, now time.Time) bool {
	switch {
	case b == nil:
		return true
	case a.expired(now) != b.expired(now):
		return b.expired(now)
	default:
		return a.leaf.NotBefore.After(b.leaf.NotBefore)
	}
}

func (c *Client) refuse(err error) {
	text := err.Error()
	if c.pair.Load() != nil {
		text += "; the last good client certificate stays in use"
	}
	c.board.complain(troubleFiles, text)
}

func (c *Client) use(p *pair) {
	had := c.pair.Load()
	if same(had, p) {
		return
	}
	c.pair.Store(p)
	if p == nil {
		c.board.shows(nil, time.Time{})
		c.board.complain(troubleClock, "")
	} else {
		c.c.Log.Info("client certificate", "subject", p.subject(), "validUntil", p.leaf.NotAfter)
		c.board.shows(p, time.Time{})
	}
	c.changed.Set(c.changed.Value() + 1)
}

// adopt puts a pair that stands in the kubeconfig itself into the store, if it is to be renewed: kubeadm looks for it there, and
// changes the kubeconfig to name it.
func (c *Client) adopt(now time.Time) {
	p := c.pair.Load()
	if !c.c.Rotate || p == nil || p.expired(now) {
		return
	}
	if stored, err := c.store.load(); err == nil && (same(stored, p) || !better(p, stored, now)) {
		return
	}
	id, err := readIdentity(c.c.Kubeconfig)
	if err != nil || !id.hasCertificate() {
		return
	}
	certPEM, keyPEM, err := id.texts()
	if err != nil {
		return // load has complained
	}
	if fromFile, err := parsePair(certPEM, keyPEM); err != nil || !same(fromFile, p) {
		return // changed meanwhile; another turn comes
	}
	unkept := ""
	if err := c.store.save(certPEM, keyPEM, now); err != nil {
		if unkept = err.Error(); unkept != c.unkept {
			c.c.Log.Warn("cannot keep the client certificate of the kubeconfig", "file", c.store.current(), "err", err)
		}
	}
	c.unkept = unkept
}

// soonest is the first of some times that is still to come, zero if none is.
func soonest(now time.Time, times ...time.Time) (first time.Time) {
	for _, t := range times {
		if t.After(now) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
