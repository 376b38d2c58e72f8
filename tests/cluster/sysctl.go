package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// sysctls are the kernel's settings that a node changes, as every kubelet does.
var sysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// rememberSysctls writes them down: this may be somebody's desk.
func (p place) rememberSysctls() error {
	was := map[string]string{}
	for _, name := range sysctls {
		value, err := os.ReadFile("/proc/sys/" + name)
		if errors.Is(err, os.ErrNotExist) {
			continue // not in every kernel
		}
		if err != nil {
			return err
		}
		was[name] = strings.TrimSpace(string(value))
	}
	data, err := json.Marshal(was)
	if err != nil {
		return err
	}
	return os.WriteFile(p.file("sysctls.json"), data, 0o644)
}

// restoreSysctls puts back those that are different now.
func (p place) restoreSysctls() error {
	data, err := os.ReadFile(p.file("sysctls.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var was map[string]string
	if err := json.Unmarshal(data, &was); err != nil {
		return fmt.Errorf("read %s: %w", p.file("sysctls.json"), err)
	}
	var errs []error
	for name, value := range was {
		if now, err := os.ReadFile("/proc/sys/" + name); err == nil && strings.TrimSpace(string(now)) != value {
			errs = append(errs, os.WriteFile("/proc/sys/"+name, []byte(value), 0))
		}
	}
	return errors.Join(errs...)
}
