package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
)

// ServingConfig says which certificate a node shows to those who call it.
type ServingConfig struct {
	// CertFile and KeyFile name a pair that others look after (tlsCertFile, tlsPrivateKeyFile); both or neither.
	CertFile, KeyFile string
	// Bootstrap has the certificate asked of the API (serverTLSBootstrap); the files, if any, serve until it is there.
	// Without files and Bootstrap, Bosun makes a certificate and signs it itself.
	Bootstrap bool
	// Fixed has CertFile and KeyFile read once only: what others put there later waits for a restart (the gate
	// ReloadKubeletServerCertificateFile off).
	Fixed bool
	// NamesSuffice has a certificate asked for also while the node has no IP address (the gate AllowDNSOnlyNodeCSR).
	NamesSuffice bool
	// CertDir is where certificates are kept that the API gave or Bosun made (--cert-dir).
	CertDir  string
	NodeName string
	// Names are host names and IP addresses for a certificate that Bosun makes; the node name if empty.
	Names []string
	// Addresses are those of the node's status, for a certificate of the API; while there are none, none is asked for.
	Addresses *latest.Cell[[]corev1.NodeAddress]
	// Requests asks for certificates as this node; needed for Bootstrap.
	Requests Requests
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

// Serving is the node's serving certificate. It is safe for use by several goroutines.
type Serving struct {
	c     ServingConfig
	store *store
	own   *ownPair // nil unless Bosun signs itself
	board *board
	ages  ageing
	state latest.Cell[State]
	pair  atomic.Pointer[pair]
}

// NewServing reads what there is. A pair that cannot be used is a Problem of State, and handshakes fail until one can; the
// error is for a configuration that makes no sense.
func NewServing(c ServingConfig) (*Serving, error) {
	switch {
	case c.NodeName == "":
		return nil, errors.New("serving certificate: want a node name")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return nil, fmt.Errorf("serving certificate: tlsCertFile %q and tlsPrivateKeyFile %q: want both or neither", c.CertFile, c.KeyFile)
	case c.Bootstrap && (c.Requests == nil || c.Addresses == nil):
		return nil, errors.New("serverTLSBootstrap needs an API server to ask: want --kubeconfig")
	}
	s := &Serving{c: c, store: &store{dir: c.CertDir, name: servingPairs, step: c.step}}
	s.board = newBoard(c.Log, &s.state)
	s.ages = ageing{what: "serving", notes: c.Notes}
	if !c.Bootstrap && c.CertFile == "" {
		names := c.Names
		if len(names) == 0 {
			names = []string{c.NodeName}
		}
		s.own = &ownPair{cert: filepath.Join(c.CertDir, "kubelet.crt"), key: filepath.Join(c.CertDir, "kubelet.key"), name: c.NodeName, names: names, log: c.Log, step: c.step}
	}
	s.load(time.Now())
	return s, nil
}

// GetCertificate is for tls.Config. It answers with the newest certificate, so that a new one needs no new listener.
func (s *Serving) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if p := s.pair.Load(); p != nil {
		return p.cert, nil
	}
	now := s.state.Value()
	switch {
	case now.Waiting != "":
		return nil, errors.New("no serving certificate available for the kubelet: " + now.Waiting)
	case now.Problem != "":
		return nil, errors.New("no serving certificate available for the kubelet: " + now.Problem)
	default:
		return nil, errors.New("no serving certificate available for the kubelet")
	}
}

// State tells how the certificate stands.
func (s *Serving) State() *latest.Cell[State] { return &s.state }

// Run follows files and addresses, makes, asks for and renews the certificate until ctx ends, and returns its error.
func (s *Serving) Run(ctx context.Context) error {
	if err := s.store.tidy(); err != nil {
		s.c.Log.Warn("cannot remove the key of a certificate request that is done", "err", err)
	}
	r := &renewer{board: s.board, log: s.c.Log, failed: s.c.RenewFailed, seed: s.c.NodeName, watch: s.c.watch, every: s.c.every}
	return r.rounds(ctx, s.turn)
}

func (s *Serving) turn(now time.Time) round {
	var r round
	var renewAt time.Time
	p := s.pair.Load()
	if s.own != nil {
		r.files = []string{s.own.cert, s.own.key}
		if p = s.lookAtOwn(p, now); p != nil && selfMade(p.leaf) {
			renewAt = p.renewAt()
		}
	} else {
		r.files = s.load(now)
		p = s.pair.Load()
	}
	if s.c.Bootstrap {
		r.wish, renewAt, r.more = s.wish(p, now)
	}
	if p != nil {
		s.board.complain(troubleClock, p.clockComplaint(now))
		r.at = soonest(now, renewAt, p.leaf.NotBefore, p.leaf.NotAfter.Add(time.Second), s.ages.look(p, renewAt, now))
	}
	s.board.shows(p, renewAt)
	return r
}

// wish is for a certificate of the API when there is none, when it is due, or when it lacks an address of the node.
func (s *Serving) wish(p *pair, now time.Time) (w wish, renewAt time.Time, more <-chan struct{}) {
	addresses, more := s.c.Addresses.Get()
	if p != nil {
		renewAt = p.renewAt()
	}
	o, ok := servingOrder(s.c.NodeName, addresses, s.c.NamesSuffice)
	if !ok || p != nil && o.metBy(p.leaf) && now.Before(renewAt) {
		return wish{}, renewAt, more
	}
	return wish{what: o.id(), try: func(ctx context.Context) error {
		f := fetch{board: s.board, log: s.c.Log, store: s.store, requests: s.c.Requests, order: o, present: p, then: func() error {
			if s.c.Renewed != nil && p != nil {
				s.c.Renewed(time.Since(p.leaf.NotBefore))
			}
			return nil
		}}
		return f.run(ctx)
	}}, renewAt, more
}

// load takes the pair into use that the configuration means, and returns the files that matter. A pair that cannot be
// used leaves the old one in use.
func (s *Serving) load(now time.Time) (files []string) {
	var p *pair
	var err error
	switch {
	case s.own != nil:
		files = []string{s.own.cert, s.own.key}
		var ours bool
		if p, ours, err = s.own.read(); ours {
			err = nil // if there is none, Run makes one
		}
	case s.c.Bootstrap:
		files = []string{s.store.current()}
		p, err = s.store.load()
		if missing(err) {
			p, err = nil, nil
		}
		if s.c.CertFile != "" {
			files = append(files, s.c.CertFile, s.c.KeyFile)
			if p == nil || p.expired(now) {
				p, err = s.stopgap(p, err)
			}
		}
	case s.c.Fixed && s.pair.Load() != nil:
		return nil
	default:
		files = []string{s.c.CertFile, s.c.KeyFile}
		p, err = loadPair(s.c.CertFile, s.c.KeyFile)
	}
	if err != nil {
		s.refuse(err)
		return files
	}
	s.board.complain(troubleFiles, "")
	s.use(p)
	return files
}

// stopgap is the pair of the configuration while the one that the API gave cannot be used.
func (s *Serving) stopgap(stored *pair, storedErr error) (*pair, error) {
	p, err := loadPair(s.c.CertFile, s.c.KeyFile)
	if err != nil && stored == nil {
		return nil, errors.Join(storedErr, err)
	}
	if err != nil || stored != nil && p.leaf.NotAfter.Before(stored.leaf.NotAfter) {
		return stored, nil
	}
	return p, nil
}

func (s *Serving) refuse(err error) {
	text := "serving certificate: " + err.Error()
	if s.pair.Load() != nil {
		text += "; the last good one stays in use"
	}
	s.board.complain(troubleFiles, text)
}

// use publishes a pair; nil leaves what is in use.
func (s *Serving) use(p *pair) {
	if had := s.pair.Load(); p == nil || same(had, p) {
		return
	}
	s.pair.Store(p)
	s.c.Log.Info("serving certificate", "subject", p.subject(), "validUntil", p.leaf.NotAfter)
	s.board.shows(p, time.Time{})
}

// lookAtOwn takes the pair into use that Bosun makes for itself.
func (s *Serving) lookAtOwn(had *pair, now time.Time) *pair {
	p, err := s.own.look(now)
	if err != nil {
		s.refuse(err)
		return had
	}
	s.board.complain(troubleFiles, "")
	if had != nil && !same(had, p) && s.c.Renewed != nil {
		s.c.Renewed(now.Sub(had.leaf.NotBefore))
	}
	s.use(p)
	return p
}
