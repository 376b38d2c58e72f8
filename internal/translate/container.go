package translate

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Container is what the runtime is asked for one attempt of a container (behaviours 60-63, 67, 84-103). image is what its
// image resolved to. The error is a *ConfigError.
func Container(d *pod.Desired, name string, attempt uint32, image plan.ResolvedImage, n *Node, in *Inputs) (*runtimeapi.ContainerConfig, error) {
	p := d.Pod
	c, _ := pod.FindContainer(p, name)
	if c == nil {
		return nil, &ConfigError{reason.CreateContainerConfigErr, fmt.Sprintf("the pod has no container %q", name)}
	}
	annotations, err := containerAnnotations(p, c, attempt, in)
	if err != nil {
		return nil, err
	}
	sc, err := security(p, c, image.User, n, in)
	if err != nil {
		return nil, err
	}
	ms, err := mounts(p, c, n, in)
	if err != nil {
		return nil, err
	}
	ds, err := devices(c, in)
	if err != nil {
		return nil, err
	}
	signal, err := stopSignal(c)
	if err != nil {
		return nil, err
	}
	out := &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: name, Attempt: attempt},
		Image:       &runtimeapi.ImageSpec{Image: image.ID, UserSpecifiedImage: c.Image},
		Command:     environ.Expand(c.Command, in.Env),
		Args:        environ.Expand(c.Args, in.Env),
		WorkingDir:  c.WorkingDir,
		Envs:        envs(in),
		Mounts:      ms,
		Devices:     ds,
		Labels:      ContainerLabels(p, name),
		Annotations: annotations,
		LogPath:     names.ContainerLog(name, attempt),
		Stdin:       c.Stdin,
		StdinOnce:   c.StdinOnce,
		Tty:         c.TTY,
		Linux:       &runtimeapi.LinuxContainerConfig{Resources: Resources(d, c, n, in), SecurityContext: sc},
		StopSignal:  signal,
	}
	for _, id := range in.Plugin.CDI {
		out.CDIDevices = append(out.CDIDevices, &runtimeapi.CDIDevice{Name: id})
	}
	return out, nil
}

func containerAnnotations(p *v1.Pod, c *v1.Container, attempt uint32, in *Inputs) (map[string]string, error) {
	own, err := ContainerAnnotations(p, c, attempt)
	if err != nil {
		return nil, configError(c, err)
	}
	out := make(map[string]string, len(own)+len(in.Plugin.Annotations))
	maps.Copy(out, in.Plugin.Annotations)
	maps.Copy(out, own)
	return out, nil
}

// envs are the container's variables; those of device plugins come last and so hold where both name one.
func envs(in *Inputs) []*runtimeapi.KeyValue {
	hidden := make(map[string]bool, len(in.Plugin.Env))
	for _, v := range in.Plugin.Env {
		hidden[v.Name] = true
	}
	var out []*runtimeapi.KeyValue
	for _, v := range in.Env {
		if !hidden[v.Name] {
			out = append(out, keyValue(v))
		}
	}
	for _, v := range in.Plugin.Env {
		out = append(out, keyValue(v))
	}
	return out
}

func keyValue(v environ.Var) *runtimeapi.KeyValue {
	return &runtimeapi.KeyValue{Key: v.Name, Value: []byte(v.Value)}
}

// stopSignal is the signal the container asks to be stopped with; the runtime's default is the image's (behaviour 136).
func stopSignal(c *v1.Container) (runtimeapi.Signal, error) {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT, nil
	}
	name := string(*c.Lifecycle.StopSignal)
	value, ok := runtimeapi.Signal_value["SIGNAL_"+strings.NewReplacer("+", "PLUS", "-", "MINUS").Replace(name)]
	if !ok || !strings.HasPrefix(name, "SIG") {
		return 0, configError(c, fmt.Errorf("lifecycle.stopSignal: invalid value %q: must be the name of a signal, such as SIGTERM", name))
	}
	return runtimeapi.Signal(value), nil
}

// Refusal makes any error met while a container is being prepared one for users (behaviours 64, 71): a *ConfigError
// stays what it is; the message of another error stays.
func Refusal(err error) *ConfigError {
	var known *ConfigError
	if errors.As(err, &known) {
		return known
	}
	return &ConfigError{reason.CreateContainerConfigErr, err.Error()}
}

func configError(c *v1.Container, err error) *ConfigError {
	return &ConfigError{reason.CreateContainerConfigErr, "container " + c.Name + ": " + err.Error()}
}
