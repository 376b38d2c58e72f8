package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KernelMode is what is done about the kernel settings that a node wants.
type KernelMode uint8

const (
	// SetKernel writes those that differ.
	SetKernel KernelMode = iota
	// CheckKernel refuses to run when one differs (config protectKernelDefaults).
	CheckKernel
	// LeaveKernel does not look at them.
	LeaveKernel
)

// A Sysctl is a kernel setting: vm.overcommit_memory and the like.
type Sysctl struct{ Name, Value string }

// file is where the kernel has it.
func (s Sysctl) file(root string) string {
	return filepath.Join(root, "proc/sys", strings.ReplaceAll(s.Name, ".", "/"))
}

func (s Sysctl) String() string { return s.Name + "=" + s.Value }

// KernelDefaults are the settings that a node wants (behaviour 213).
func KernelDefaults() []Sysctl {
	return []Sysctl{
		{"vm.overcommit_memory", "1"},
		{"vm.panic_on_oom", "0"},
		{"kernel.panic", "10"},
		{"kernel.panic_on_oops", "1"},
		{"kernel.keys.root_maxkeys", "1000000"},
		{"kernel.keys.root_maxbytes", "25000000"},
	}
}

// differing are the settings that are not as wanted, with the values they have.
func differing(root string) (want []Sysctl, is map[string]string, err error) {
	is = map[string]string{}
	var wrong []error
	for _, s := range KernelDefaults() {
		data, err := os.ReadFile(s.file(root))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("read the kernel setting %s: %w", s.Name, err))
			continue
		}
		if value := strings.TrimSpace(string(data)); value != s.Value {
			want, is[s.Name] = append(want, s), value
		}
	}
	return want, is, errors.Join(wrong...)
}

func checkKernel(root string) error {
	want, is, err := differing(root)
	if len(want) == 0 {
		return err
	}
	var differ, commands []string
	for _, s := range want {
		differ = append(differ, fmt.Sprintf("%s is %s instead of %s", s.Name, is[s.Name], s.Value))
		commands = append(commands, s.String())
	}
	return errors.Join(err, fmt.Errorf("kernel settings are not as a node needs them, and protectKernelDefaults is true: %s; run `sysctl -w %s` and put the same into /etc/sysctl.d/90-bosun.conf, or set protectKernelDefaults: false, then Bosun sets them",
		strings.Join(differ, ", "), strings.Join(commands, " ")))
}

func setKernel(root string) (warning string, err error) {
	want, is, err := differing(root)
	wrong := []error{err}
	var refused []string
	for _, s := range want {
		err := write(s.file(root), s.Value)
		switch {
		case err == nil:
		case lacksRight(err):
			refused = append(refused, fmt.Sprintf("%s (it is %s)", s, is[s.Name]))
		default:
			wrong = append(wrong, fmt.Errorf("set the kernel setting %s: %w", s, err))
		}
	}
	if len(refused) > 0 {
		warning = "this process may not set kernel settings that a node wants: " + strings.Join(refused, ", ")
	}
	return warning, errors.Join(wrong...)
}
