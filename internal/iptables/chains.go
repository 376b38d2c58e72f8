package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"time"
)

const (
	hint     = "KUBE-IPTABLES-HINT"
	firewall = "KUBE-FIREWALL"
	canary   = "KUBE-KUBELET-CANARY"

	// lockWait is how many seconds iptables waits for others that are changing something.
	lockWait = "5"
	// commandWait bounds each command.
	commandWait = 30 * time.Second
)

// Config says what to keep.
type Config struct {
	// Every is the time between looks, a minute by default.
	Every time.Duration
	Log   *slog.Logger
	// look finds a program; exec.LookPath by default.
	look func(string) (string, error)
}

// Chains keeps the chains.
type Chains struct {
	cfg Config
}

// New makes what keeps the chains; it runs nothing.
func New(c Config) *Chains {
	if c.Every == 0 {
		c.Every = time.Minute
	}
	if c.look == nil {
		c.look = exec.LookPath
	}
	return &Chains{cfg: c}
}

// A family is iptables of IPv4 or IPv6.
type family struct {
	// program is its path.
	program  string
	firewall bool
	// complained is what was wrong last, empty if nothing was.
	complained string
}

// Run keeps the chains until ctx ends.
func (c *Chains) Run(ctx context.Context) error {
	families := c.families()
	if len(families) == 0 {
		c.cfg.Log.Debug("there is no iptables on this machine; the chain " + hint + " is not made")
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for first := true; ; first = false {
		for _, f := range families {
			c.keep(ctx, f, first)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// families are those that this machine has.
func (c *Chains) families() (found []*family) {
	for _, f := range []family{{program: "iptables", firewall: true}, {program: "ip6tables"}} {
		if path, err := c.cfg.look(f.program); err == nil {
			f.program = path
			found = append(found, &f)
		}
	}
	return found
}

// keep makes what is missing. Only at first, and when something that is cheap to see is gone, does it look at everything.
func (c *Chains) keep(ctx context.Context, f *family, first bool) {
	gone, err := f.gone(ctx)
	if err == nil && (first || gone) {
		if !first {
			c.cfg.Log.Info("the iptables chains of the node are gone and are made again", "program", f.program)
		}
		err = f.makeAll(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != f.complained {
		c.cfg.Log.Warn("the iptables chains that other components look for cannot be kept", "err", err)
	}
	f.complained = text
}

// gone tells whether the canary has died, or the way into the firewall is closed. Chains of the table filter are what people flush
// most, and the firewall guards the node's own services.
func (f *family) gone(ctx context.Context) (bool, error) {
	made, err := f.chain(ctx, "mangle", canary)
	if err != nil || made || !f.firewall {
		return made, err
	}
	there, err := f.rule(ctx, "-C", "INPUT", "-j", firewall)
	return !there, err
}

// blocked is what the firewall drops: packets for the node's own services from other machines, unless the node has sent them there
// itself.
var blocked = []string{"!", "-s", "127.0.0.0/8", "-d", "127.0.0.0/8", "-m", "comment", "--comment", "block incoming localnet connections",
	"-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED,DNAT", "-j", "DROP"}

// makeAll makes all chains and rules that are not there. A part that fails does not keep the others from being made.
func (f *family) makeAll(ctx context.Context) error {
	var wrong []error
	for _, at := range [][2]string{{"mangle", hint}, {"mangle", canary}, {"nat", canary}, {"filter", canary}} {
		_, err := f.chain(ctx, at[0], at[1])
		wrong = append(wrong, err)
	}
	if f.firewall {
		wrong = append(wrong, f.makeFirewall(ctx))
	}
	return errors.Join(wrong...)
}

func (f *family) makeFirewall(ctx context.Context) error {
	if _, err := f.chain(ctx, "filter", firewall); err != nil {
		return err
	}
	if err := f.ensure(ctx, "-A", firewall, blocked...); err != nil {
		return err
	}
	return errors.Join(f.ensure(ctx, "-I", "INPUT", "-j", firewall), f.ensure(ctx, "-I", "OUTPUT", "-j", firewall))
}

// ensure adds a rule to a chain of the table filter unless it is there.
func (f *family) ensure(ctx context.Context, add, chain string, rule ...string) error {
	there, err := f.rule(ctx, "-C", chain, rule...)
	if err != nil || there {
		return err
	}
	_, err = f.rule(ctx, add, chain, rule...)
	return err
}

// chain makes a chain and tells whether it was missing.
func (f *family) chain(ctx context.Context, table, name string) (made bool, err error) {
	code, said, err := f.run(ctx, "-t", table, "-N", name)
	switch {
	case err == nil && code == 0:
		return true, nil
	case err == nil && code == 1 && strings.Contains(said, "exists"):
		return false, nil
	}
	return false, f.failed(err, said, "make the chain "+name+" of the table "+table)
}

// rule looks for a rule in a chain of the table filter, or adds it. That it, or what it leads to, is not there is no error.
func (f *family) rule(ctx context.Context, verb, chain string, rule ...string) (bool, error) {
	code, said, err := f.run(ctx, append([]string{"-t", "filter", verb, chain}, rule...)...)
	switch {
	case err == nil && code == 0:
		return true, nil
	case err == nil && verb == "-C" && (code == 1 || code == 2): // 2 is a chain that is not there
		return false, nil
	}
	return false, f.failed(err, said, "put a rule into the chain "+chain)
}

func (f *family) failed(err error, said, what string) error {
	if err == nil {
		err = errors.New(strings.TrimSpace(said))
	}
	return fmt.Errorf("%s: %s: %w", f.program, what, err)
}

// run runs one command. A command that says no is no error: its code and what it said are returned.
func (f *family) run(ctx context.Context, args ...string) (code int, said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	command := exec.CommandContext(ctx, f.program, append([]string{"-w", lockWait}, args...)...)
	command.WaitDelay = time.Second
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err = command.Run()
	var no *exec.ExitError
	if errors.As(err, &no) && no.Exited() {
		return no.ExitCode(), out.String(), nil
	}
	return 0, out.String(), err
}
