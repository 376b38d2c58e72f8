package dra

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	pb "k8s.io/kubelet/pkg/apis/dra/v1"
)

// record is what is remembered of one claim.
type record struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// Pods are those that the claim is prepared for, or is to be.
	Pods []types.UID `json:"pods,omitempty"`
	// Parts are what each driver has in it.
	Parts map[string]part `json:"drivers,omitempty"`
}

// part is what a driver has in a claim.
//
//	nothing ──► asked ──► prepared
//	   ▲          │           │
//	   └──────────┴───────────┘ given back
type part struct {
	// Asked tells that the driver was asked to prepare it, and not, or not with success, to give it back.
	Asked bool `json:"asked,omitempty"`
	// Boot is the run of the machine in which the driver has prepared it; what it has told the runtime is lost when that ends.
	Boot    string   `json:"boot,omitempty"`
	Devices []Device `json:"devices,omitempty"`
}

// Device is a device of a claim, as its driver has prepared it. Nobody may change it.
type Device struct {
	Driver string `json:"-"`
	Pool   string `json:"pool,omitempty"`
	Device string `json:"device,omitempty"`
	// Share tells several shares of one device from another; empty if it is not shared.
	Share string `json:"share,omitempty"`
	// Requests are those of the claim that the device is for; none means all.
	Requests []string `json:"requests,omitempty"`
	// CDI are the names by which the runtime knows it.
	CDI []string `json:"cdi,omitempty"`
}

// key is what only one call at a time may be about. Without a driver it is the writing of a record.
type key struct {
	claim  types.UID
	driver string
}

func keysOf(claims []types.UID, driver string) []key {
	keys := make([]key, 0, len(claims))
	for _, uid := range claims {
		keys = append(keys, key{uid, driver})
	}
	return keys
}

// take waits until nobody has any of the keys, and takes all.
func (c *Claims) take(ctx context.Context, keys []key) (free func(), err error) {
	for {
		c.mu.Lock()
		freed := c.freed
		if !slices.ContainsFunc(keys, func(k key) bool { return c.busy[k] }) {
			for _, k := range keys {
				c.busy[k] = true
			}
			c.mu.Unlock()
			return func() { c.free(keys) }, nil
		}
		c.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Claims) free(keys []key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		delete(c.busy, k)
	}
	close(c.freed)
	c.freed = make(chan struct{})
}

// save writes what is known of claims now. A record is written by one at a time, so that no older one comes last.
func (c *Claims) save(ctx context.Context, claims []types.UID) error {
	if len(claims) == 0 {
		return nil
	}
	free, err := c.take(ctx, keysOf(claims, ""))
	if err != nil {
		return err
	}
	defer free()
	texts := make(map[string][]byte, len(claims))
	c.mu.Lock()
	for _, uid := range claims {
		texts[string(uid)] = nil
		if r := c.records[uid]; r != nil {
			texts[string(uid)], err = json.Marshal(r)
		}
	}
	c.mu.Unlock()
	if err == nil {
		err = c.cfg.Store.SaveClaims(ctx, texts)
	}
	if err != nil {
		return fmt.Errorf("remember resource claims: %w", err)
	}
	return nil
}

// remembered reads what an earlier life of the agent has saved. What cannot be read is left out.
func remembered(texts map[string][]byte) (map[types.UID]*record, []error) {
	records := make(map[types.UID]*record, len(texts))
	var wrong []error
	for key, text := range texts {
		r := &record{}
		if err := json.Unmarshal(text, r); err != nil || r.UID != types.UID(key) {
			wrong = append(wrong, fmt.Errorf("what is remembered of resource claim %s cannot be read: %w", key, err))
			continue
		}
		records[r.UID] = r
	}
	return records, wrong
}

// prepared tells whether all parts of a claim are, since the machine started.
func (r *record) prepared(boot string) bool {
	for _, p := range r.Parts {
		if p.Boot != boot {
			return false
		}
	}
	return true
}

// devices are those of a claim that belong to a request, in an order that stays; an empty request means all.
func (r *record) devices(request string) []Device {
	var out []Device
	for _, driver := range slices.Sorted(maps.Keys(r.Parts)) {
		for _, d := range r.Parts[driver].Devices {
			if d.isFor(request) {
				d.Driver = driver
				out = append(out, d)
			}
		}
	}
	return out
}

// isFor tells whether a device belongs to a request. A driver may name one of several ways to satisfy a request, as "request/way".
func (d *Device) isFor(request string) bool {
	return request == "" || len(d.Requests) == 0 || slices.ContainsFunc(d.Requests, func(r string) bool {
		return r == request || len(r) > len(request) && r[:len(request)] == request && r[len(request)] == '/'
	})
}

func (r *record) message() *pb.Claim {
	return &pb.Claim{Namespace: r.Namespace, Uid: string(r.UID), Name: r.Name}
}

// find is the record of a claim of a pod; nil if there is none. The lock is held.
func (c *Claims) find(pod types.UID, namespace, name string) *record {
	for _, r := range c.records {
		if r.Namespace == namespace && r.Name == name && slices.Contains(r.Pods, pod) {
			return r
		}
	}
	return nil
}
