package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Config is where things are; tests have others.
type Config struct {
	// Root is the directory below which etc/systemd is, "/" if empty.
	Root string
	// Patience bounds each call, 15 s if 0: the bus may have to start who answers.
	Patience time.Duration
}

func (c Config) patience() time.Duration {
	if c.Patience == 0 {
		return 15 * time.Second
	}
	return c.Patience
}

func (c Config) dropIns() string {
	root := c.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(root, "etc/systemd/logind.conf.d")
}

// dropIn is the name that operators know from the upstream kubelet. It sorts after most others, and so wins.
const dropIn = "99-kubelet.conf"

// dropInText sets the most delay, in whole seconds.
func dropInText(most time.Duration) []byte {
	seconds := int64((most + time.Second - 1) / time.Second)
	return fmt.Appendf(nil, "# Written by the node agent: pods get this long when the machine goes down.\n[Login]\nInhibitDelayMaxSec=%d\n", seconds)
}

// AllowDelay makes logind let locks delay a shutdown for so long: by a drop-in file for its configuration, which it is told
// to read again. It does so in its own time: ask MostDelay.
func (s *Session) AllowDelay(ctx context.Context, most time.Duration) error {
	if err := writeDropIn(s.dropIns, dropInText(most)); err != nil {
		return fmt.Errorf("tell logind of a longer delay: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	manager := s.conn.Object(systemd, systemdPath)
	if err := manager.CallWithContext(ctx, systemdManager+".KillUnit", 0, "systemd-logind.service", "all", int32(syscall.SIGHUP)).Store(); err != nil {
		return fmt.Errorf("make logind read its configuration again: %w", err)
	}
	return nil
}

// writeDropIn replaces the drop-in file in one step, unless it says this already.
func writeDropIn(dir string, text []byte) error {
	path := filepath.Join(dir, dropIn)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, dropIn+".*.new") // logind reads only names that end in .conf
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
