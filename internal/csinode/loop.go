package csinode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/latest"
)

// Cluster is the API server.
type Cluster interface {
	GetCSINode(ctx context.Context, name string) (*storage.CSINode, error)
	CreateCSINode(ctx context.Context, n *storage.CSINode) (*storage.CSINode, error)
	UpdateCSINode(ctx context.Context, n *storage.CSINode) (*storage.CSINode, error)
	DeleteCSINode(ctx context.Context, name string) error
	// PatchNode changes the Node object; patch is a strategic merge patch.
	PatchNode(ctx context.Context, name string, patch []byte) (*v1.Node, error)
}

// Driver is what a driver says of the node.
type Driver struct {
	NodeID   string
	Topology map[string]string
	// MostVolumes is how many volumes of the driver may be attached; 0 for any number.
	MostVolumes int64
}

// Config is what a Loop is built from.
type Config struct {
	// Name is the node's name.
	Name    string
	Cluster Cluster
	// Node is the node's own object, nil while it is not known or there is none, and a channel that is closed when that changes.
	Node func() (*v1.Node, <-chan struct{})
	// Drivers are those that are registered, by name.
	Drivers func() (map[string]Driver, <-chan struct{})
	// Back returns a channel that is closed when the API server has come back.
	Back func() <-chan struct{}
	Log  *slog.Logger
}

// State is how telling the cluster goes.
type State struct {
	// Told tells that the CSINode object is as it should be.
	Told bool
	// Problem is why it could not be told last; empty if it could.
	Problem string
}

// Loop tells the cluster of drivers.
type Loop struct {
	cfg   Config
	state latest.Cell[State]
}

// New builds a Loop. Nothing is sent before Run.
func New(cfg Config) *Loop { return &Loop{cfg: cfg} }

// State tells how it goes.
func (l *Loop) State() *latest.Cell[State] { return &l.state }

// pauses are those between attempts.
var pauses = backoff.Series{Initial: 100 * time.Millisecond, Max: 30 * time.Second}

// Run tells the cluster until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	p := &pass{Loop: l, seen: map[string]Driver{}}
	var pause time.Duration
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		back := l.cfg.Back()
		node, newerNode := l.cfg.Node()
		drivers, newerDrivers := l.cfg.Drivers()
		var again <-chan time.Time
		if err := p.turn(ctx, node, drivers); err != nil && ctx.Err() == nil {
			l.failed(err)
			pause = pauses.Next(pause)
			timer.Reset(pause)
			again = timer.C
			newerNode = nil // else a node that changes often would have no pauses made
		} else {
			pause = 0
			if s := (State{Told: p.told != ""}); s != l.state.Value() {
				l.state.Set(s)
			}
		}
		select {
		case <-ctx.Done():
		case <-newerNode:
		case <-newerDrivers:
		case <-back:
		case <-again:
		}
	}
	return nil
}

// failed says once what is wrong.
func (l *Loop) failed(err error) {
	was := l.state.Value()
	if was.Problem != err.Error() && !apierrors.IsConflict(err) {
		l.cfg.Log.Warn("the cluster cannot be told of the CSI drivers of the node", "err", err)
	}
	l.state.Set(State{Told: was.Told, Problem: err.Error()})
}

// pass is what one run knows.
type pass struct {
	*Loop
	// seen are the drivers that were registered at any time in this run: those that are not any more are taken out.
	seen map[string]Driver
	// told is the UID of the node whose CSINode was written, and with what drivers.
	told string
	with map[string]Driver
}

// turn does what is to be done now.
func (p *pass) turn(ctx context.Context, node *v1.Node, drivers map[string]Driver) error {
	if node == nil {
		return nil
	}
	maps.Copy(p.seen, drivers)
	same := p.told == string(node.UID) && maps.EqualFunc(p.with, drivers, equal)
	var errs []error
	if !same {
		err := p.object(ctx, node, drivers)
		if err == nil {
			p.told, p.with = string(node.UID), drivers
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, p.mark(ctx, node, drivers))...)
}

func equal(a, b Driver) bool {
	return a.NodeID == b.NodeID && a.MostVolumes == b.MostVolumes && maps.Equal(a.Topology, b.Topology)
}

// object brings the CSINode up to date, or makes it.
func (p *pass) object(ctx context.Context, node *v1.Node, drivers map[string]Driver) error {
	have, err := p.cfg.Cluster.GetCSINode(ctx, p.cfg.Name)
	switch {
	case apierrors.IsNotFound(err):
		_, err = p.cfg.Cluster.CreateCSINode(ctx, fresh(p.cfg.Name, node.UID, drivers))
		return err
	case err != nil:
		return err
	case !ownedBy(have, node.UID): // of an earlier Node object: it will be collected as garbage
		if err := p.cfg.Cluster.DeleteCSINode(ctx, p.cfg.Name); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		_, err = p.cfg.Cluster.CreateCSINode(ctx, fresh(p.cfg.Name, node.UID, drivers))
		return err
	}
	want := updated(have, drivers, p.seen)
	if want == nil {
		return nil
	}
	_, err = p.cfg.Cluster.UpdateCSINode(ctx, want)
	return err
}

// mark brings the Node object's annotation and labels up to date.
func (p *pass) mark(ctx context.Context, node *v1.Node, drivers map[string]Driver) error {
	annotation, err := annotationPatch(node, drivers, p.seen)
	if err == nil && annotation != nil {
		_, err = p.cfg.Cluster.PatchNode(ctx, p.cfg.Name, annotation)
	}
	if err != nil {
		return fmt.Errorf("annotate the node: %w", err)
	}
	labels, err := labelPatch(node, drivers)
	if labels != nil { // apart: a label may be refused
		if _, refused := p.cfg.Cluster.PatchNode(ctx, p.cfg.Name, labels); refused != nil {
			err = errors.Join(err, fmt.Errorf("label the node with the topology of drivers: %w", refused))
		}
	}
	return err
}
