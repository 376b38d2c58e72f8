package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// What all nodes of the cluster have in common.
const (
	namespace  = "default"
	address    = "192.0.2.10" // of the node, on loopback
	clusterDNS = "192.0.2.53" // nobody is there
	material   = "bench"      // the name of the ConfigMap and the Secret that pods use
)

// A cluster is a control plane whose only node is the agent that has its turn.
type cluster struct {
	plane  *controlplane.Plane
	client kubernetes.Interface
}

// cluster measures Bosun and the upstream kubelet with pods of an API server.
func (b *bench) cluster(ctx context.Context, s *setting, j *journal) (p *part, err error) {
	progress("start a control plane")
	plane, err := controlplane.Open(ctx, controlplane.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	c := &cluster{plane: plane}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() {
		if err := b.observer.followPods(ctx, c.client); err != nil {
			s.fail(err)
		}
	})

	p = &part{
		title: "pods of an API server", journal: j,
		works: []work{{
			kind: plain, start: thing{"one pod: created → Ready", 1.15}, remove: thing{"one pod: deleted → gone from the API", 1.4},
			stages: clusterStages("one pod"),
		}, {
			kind: fed, start: thing{"one with ConfigMap, Secret, token: created → Ready", 1.2}, remove: thing{"one with ConfigMap, Secret, token: deleted → gone", 1.4},
			stages: clusterStages("one with volumes"),
		}},
		startMany: thing{"many pods at once: created → all Ready", 1.1}, removeMany: thing{"many pods at once: deleted → all gone", 0},
		rounds: b.options.rounds, each: b.options.each, bursts: b.options.bursts, pods: b.options.pods, idle: b.options.idle,
		budgets: budgets{cpuPerPod: 10, idleCPU: 0.4},
	}
	if err := b.members(ctx, s, p, c); err != nil {
		return nil, err
	}
	if err := b.measure(ctx, p); err != nil {
		return nil, err
	}
	return p, c.tellStarts(p)
}

// prepare makes what nodes and pods need.
func (c *cluster) prepare(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "ip", "address", "replace", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
		return fmt.Errorf("give the node an address: %w: %s", err, out)
	}
	config, err := c.plane.RESTConfig()
	if err != nil {
		return err
	}
	config.ContentType = runtime.ContentTypeProtobuf // what the observer spends is taken from the agents
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	c.client = client
	meta := metav1.ObjectMeta{Name: material}
	if _, err := client.CoreV1().ConfigMaps(namespace).Create(ctx, &v1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"app.conf": "colour: green\n"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err = client.CoreV1().Secrets(namespace).Create(ctx, &v1.Secret{ObjectMeta: meta, StringData: map[string]string{"password": "for the benchmark only"}}, metav1.CreateOptions{})
	return err
}

// members builds the agents of the part.
func (b *bench) members(ctx context.Context, s *setting, p *part, c *cluster) error {
	build := func(title, node, binary, socket string, subcommand ...string) (*member, error) {
		return newMember(memberConfig{
			title: title, node: node, binary: binary, subcommand: subcommand, dir: filepath.Join(s.bed.Dir, "members", node), endpoint: socket,
			trace: b.options.trace, fail: s.fail, image: s.image, runtime: s.client, cluster: c,
		})
	}
	recipes, err := b.record(ctx, s, p, func(socket string) (agent, string, error) {
		m, err := build(subject, "recorded", b.options.bosun, socket, "run")
		if err != nil {
			return nil, "", err
		}
		return m, m.root(), nil
	})
	if err != nil {
		return fmt.Errorf("record pods: %w", err)
	}
	bosun, err := build(subject, "bosun", b.options.bosun, s.bed.Socket, "run")
	if err != nil {
		return err
	}
	tested := []agent{bosun}
	if b.options.kubelet != none {
		kubelet, err := build("kubelet", "kubelet", b.options.kubelet, s.bed.Socket)
		if err != nil {
			return err
		}
		tested = append(tested, kubelet)
	}
	p.agents = b.floors(s, recipes, tested...)
	return nil
}

// tellStarts tells what only the end of the part shows.
func (c *cluster) tellStarts(p *part) error {
	for _, a := range p.agents {
		m, ok := a.(*member)
		if !ok {
			continue
		}
		for _, took := range m.starts {
			if err := p.journal.add(sample{Thing: "node: started → Ready", Agent: m.label, Value: inMS(took), Unit: "ms"}); err != nil {
				return err
			}
		}
		values := p.journal.values("node: started → Ready", m.label)
		if err := p.state(judgement{"node: started → Ready in the API, median", m.label, median(values), 0, "ms"}); err != nil {
			return err
		}
	}
	return nil
}

// followPods hears of the pods of the API server until ctx ends; it tells of any other end.
func (o *observer) followPods(ctx context.Context, client kubernetes.Interface) error {
	w, err := client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("follow the API server's pods: %w", err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		o.hearPod(e, time.Now())
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("the watch of the API server's pods ended")
}
