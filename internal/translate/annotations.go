package translate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// SandboxLabels are the pod's own labels and those that identify it (behaviour 49).
func SandboxLabels(p *v1.Pod) map[string]string {
	labels := make(map[string]string, len(p.Labels)+3)
	maps.Copy(labels, p.Labels)
	identify(labels, p)
	return labels
}

// ContainerLabels identify a container (behaviour 60).
func ContainerLabels(p *v1.Pod, container string) map[string]string {
	labels := map[string]string{names.ContainerName: container}
	identify(labels, p)
	return labels
}

func identify(labels map[string]string, p *v1.Pod) {
	labels[names.PodName] = p.Name
	labels[names.PodNamespace] = p.Namespace
	labels[names.PodUID] = string(p.UID)
}

// SandboxAnnotations are the pod's own annotations and the words on where it comes from (behaviour 49).
func SandboxAnnotations(d *pod.Desired) map[string]string {
	out := make(map[string]string, len(d.Pod.Annotations)+2)
	maps.Copy(out, d.Pod.Annotations)
	if out[names.ConfigSource] == "" && d.Source != "" {
		out[names.ConfigSource] = string(d.Source)
	}
	if out[names.ConfigSeen] == "" && !d.Seen.IsZero() {
		out[names.ConfigSeen] = d.Seen.Format(time.RFC3339Nano)
	}
	return out
}

// ContainerAnnotations tell what is needed to go on with a container, or to stop it, when nothing else is known of it
// (behaviour 60).
func ContainerAnnotations(p *v1.Pod, c *v1.Container, attempt uint32) (map[string]string, error) {
	out := map[string]string{
		names.ContainerHash:            names.HashContainer(c),
		names.ContainerRestartCount:    strconv.FormatUint(uint64(attempt), 10),
		names.TerminationMessagePath:   c.TerminationMessagePath,
		names.TerminationMessagePolicy: string(c.TerminationMessagePolicy),
	}
	if qos.ClassOf(p) != v1.PodQOSBestEffort { // it stays one, and so never asks for anything (behaviour 225)
		out[names.ContainerSizes] = plan.GivenOf(p, c).String()
	}
	if s := p.DeletionGracePeriodSeconds; s != nil {
		out[names.PodDeletionGracePeriod] = strconv.FormatInt(*s, 10)
	}
	if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
		out[names.PodTerminationGracePeriod] = strconv.FormatInt(*s, 10)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		data, err := json.Marshal(c.Lifecycle.PreStop)
		if err != nil {
			return nil, fmt.Errorf("write preStop of container %s: %w", c.Name, err)
		}
		out[names.PreStopHandler] = string(data)
	}
	if len(c.Ports) > 0 {
		data, err := json.Marshal(c.Ports)
		if err != nil {
			return nil, fmt.Errorf("write ports of container %s: %w", c.Name, err)
		}
		out[names.ContainerPorts] = string(data)
	}
	return out, nil
}

// Noted is what ContainerAnnotations wrote.
type Noted struct {
	Hash                     string
	Attempt                  uint32
	TerminationMessagePath   string
	TerminationMessagePolicy v1.TerminationMessagePolicy
	// DeletionGrace and TerminationGrace are in seconds, nil if there are none.
	DeletionGrace, TerminationGrace *int64
	PreStop                         *v1.LifecycleHandler
	Ports                           []v1.ContainerPort
}

// ParseContainerAnnotations reads what ContainerAnnotations, or an upstream kubelet, wrote. What cannot be read is left
// out and told of in the error; the rest is there all the same.
func ParseContainerAnnotations(annotations map[string]string) (Noted, error) {
	n := Noted{
		Hash:                     annotations[names.ContainerHash],
		TerminationMessagePath:   annotations[names.TerminationMessagePath],
		TerminationMessagePolicy: v1.TerminationMessagePolicy(annotations[names.TerminationMessagePolicy]),
	}
	var errs []error
	read := func(name string, parse func(text string) error) {
		text, ok := annotations[name]
		if !ok {
			return
		}
		if err := parse(text); err != nil {
			errs = append(errs, fmt.Errorf("annotation %s=%q: %w", name, text, err))
		}
	}
	seconds := func(to **int64) func(string) error {
		return func(text string) error {
			s, err := strconv.ParseInt(text, 10, 64)
			if err == nil {
				*to = &s
			}
			return err
		}
	}
	read(names.ContainerRestartCount, func(text string) error {
		a, err := strconv.ParseUint(text, 10, 32)
		if err == nil {
			n.Attempt = uint32(a)
		}
		return err
	})
	read(names.PodDeletionGracePeriod, seconds(&n.DeletionGrace))
	read(names.PodTerminationGracePeriod, seconds(&n.TerminationGrace))
	read(names.PreStopHandler, func(text string) error {
		var h v1.LifecycleHandler
		err := json.Unmarshal([]byte(text), &h)
		if err == nil {
			n.PreStop = &h
		}
		return err
	})
	read(names.ContainerPorts, func(text string) error {
		var ports []v1.ContainerPort
		err := json.Unmarshal([]byte(text), &ports)
		if err == nil {
			n.Ports = ports
		}
		return err
	})
	return n, errors.Join(errs...)
}
