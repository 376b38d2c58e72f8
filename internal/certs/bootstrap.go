package certs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
)

// Connect builds what certificates are asked for with, as whom a kubeconfig says. It sends nothing yet. release ends the
// connections when all is done; it may be nil.
type Connect func(kubeconfig string) (requests Requests, release func(), err error)

// BootstrapConfig says how a node becomes a member of a cluster.
type BootstrapConfig struct {
	// Kubeconfig is the file that is wanted (--kubeconfig).
	Kubeconfig string
	// BootstrapKubeconfig identifies the node until then (--bootstrap-kubeconfig). Empty: the first must be usable.
	BootstrapKubeconfig string
	// CertDir is where the certificate is kept (--cert-dir).
	CertDir string
	// NodeName is the node's name; the certificate is for system:node:NAME.
	NodeName string
	// Rotate tells that certificates are renewed: one that was kept counts when that of the kubeconfig has expired.
	Rotate  bool
	Connect Connect
	// State, if not nil, tells how it goes.
	State *latest.Cell[State]
	Log   *slog.Logger

	watch func(*slog.Logger) watcher // for tests
	step  func(string) error         // for tests
}

// Bootstrap returns nil when the kubeconfig can be used. If it cannot, because there is none, or its certificate has
// expired, Bootstrap asks for a certificate as the bootstrap kubeconfig says, waits for its approval as long as it takes, keeps it
// in the certificate directory and writes the kubeconfig. What it waits for is in State and, once, in the log. It ends early when
// somebody else brings a usable kubeconfig. A new bootstrap kubeconfig, say with a new token, is taken up at once.
//
// Without a bootstrap kubeconfig, a certificate that has expired is used for what it is worth: Client says so, and hears of
// another one.
//
// The error is that of ctx, or says why the kubeconfig cannot be used if there is no bootstrap kubeconfig.
func Bootstrap(ctx context.Context, c BootstrapConfig) error {
	err := c.usable(time.Now())
	if err == nil || c.BootstrapKubeconfig == "" && errors.Is(err, errExpired) {
		if err := (&store{dir: c.CertDir, name: clientPairs}).tidy(); err != nil {
			c.Log.Warn("cannot remove the key of a certificate request that is done", "err", err)
		}
		return nil
	}
	if c.BootstrapKubeconfig == "" {
		return fmt.Errorf("%w; give a kubeconfig that is whole and valid, or --bootstrap-kubeconfig to ask for a certificate with", err)
	}
	if c.NodeName == "" || c.Connect == nil {
		return errors.New("bootstrap: want a node name and a way to the API server")
	}
	b := newBoot(c, newBoard(c.Log, c.State))
	c.Log.Info("kubeconfig cannot be used yet; asking for a certificate", "kubeconfig", c.Kubeconfig, "reason", err, "bootstrapKubeconfig", c.BootstrapKubeconfig)
	r := &renewer{board: b.board, log: c.Log, seed: c.NodeName, watch: c.watch}
	return r.rounds(ctx, b.turn)
}

// usable says why there is nothing yet to identify the node with.
func (c *BootstrapConfig) usable(now time.Time) error {
	err := Usable(c.Kubeconfig, now)
	if !c.Rotate || !errors.Is(err, errExpired) {
		return err
	}
	if p, lost := (&store{dir: c.CertDir, name: clientPairs}).load(); lost != nil || p.expired(now) {
		return err
	}
	return nil
}

// A boot is the way to the first certificate, or to another one when it has expired.
type boot struct {
	c     BootstrapConfig
	board *board
	store *store
}

func newBoot(c BootstrapConfig, b *board) *boot {
	return &boot{c: c, board: b, store: &store{dir: c.CertDir, name: clientPairs, step: c.step}}
}

// The names of stored pairs, as upstream has them.
const (
	clientPairs  = "kubelet-client"
	servingPairs = "kubelet-server"
)

func (b *boot) turn(now time.Time) round {
	if err := b.c.usable(now); err == nil {
		b.board.complain(troubleFiles, "")
		return round{done: true}
	}
	r := round{files: []string{b.c.Kubeconfig, b.c.BootstrapKubeconfig, b.store.current()}}
	if id, err := readIdentity(b.c.Kubeconfig); err == nil {
		r.files = append(r.files, id.files()...)
	}
	w, err := b.wish()
	if err != nil {
		b.board.complain(troubleFiles, "waiting for a bootstrap kubeconfig that can be used: "+err.Error())
		return r
	}
	b.board.complain(troubleFiles, "")
	r.wish = w
	return r
}

// wish is for a certificate by way of the bootstrap kubeconfig as it is now.
func (b *boot) wish() (wish, error) {
	text, err := readFile(b.c.BootstrapKubeconfig)
	if err != nil {
		return wish{}, fmt.Errorf("bootstrap kubeconfig: %w", err) // names the file
	}
	if _, err := parseIdentity(b.c.BootstrapKubeconfig, text); err != nil {
		return wish{}, fmt.Errorf("bootstrap kubeconfig %s: %w", b.c.BootstrapKubeconfig, err)
	}
	return wish{what: fmt.Sprintf("bootstrap %x", sha256.Sum256(text)), try: b.try}, nil
}

func (b *boot) try(ctx context.Context) error {
	id, err := readIdentity(b.c.BootstrapKubeconfig)
	if err != nil {
		return err
	}
	requests, release, err := b.c.Connect(b.c.BootstrapKubeconfig)
	if err != nil {
		return fmt.Errorf("use bootstrap kubeconfig: %w", err)
	}
	if release != nil {
		defer release()
	}
	f := fetch{board: b.board, log: b.c.Log, store: b.store, requests: requests, order: clientOrder(b.c.NodeName), then: func() error {
		if err := b.store.before("write kubeconfig"); err != nil {
			return err
		}
		file, err := filepath.Abs(b.store.current())
		if err != nil {
			return fmt.Errorf("write kubeconfig %s: %w", b.c.Kubeconfig, err)
		}
		return writeKubeconfig(b.c.Kubeconfig, id.cluster, file)
	}}
	return f.run(ctx)
}
