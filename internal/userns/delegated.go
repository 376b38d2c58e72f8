package userns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// user is the one the operator delegates ids to. Upstream has the same name; it cannot be configured.
const user = "kubelet"

// programWait bounds how long getsubids may take; with ids in a directory service it talks over the network.
const programWait = 10 * time.Second

// A machine is where delegations are found.
type machine struct {
	// etc holds passwd, subuid, subgid and nsswitch.conf.
	etc string
	// program is getsubids, empty if there is none.
	program string
}

func thisMachine() machine {
	program, err := exec.LookPath("getsubids")
	if err != nil {
		program = ""
	}
	return machine{etc: "/etc", program: program}
}

// delegated finds out which ids the operator set aside. Without a user named kubelet there are none, whatever else is
// there, as upstream documents. getsubids is asked if it is installed, since ids may come from a directory service; it
// also fails when there are none, so then the files decide, unless they are not where the machine has its ids.
func (m machine) delegated(ctx context.Context) (Delegated, error) {
	id, found, err := m.lookup()
	if err != nil || !found {
		return Delegated{}, err
	}
	if m.program != "" {
		ctx, cancel := context.WithTimeout(ctx, programWait)
		defer cancel()
		d := Delegated{Where: m.program}
		var errUsers, errGroups error
		d.Users, errUsers = m.ask(ctx)
		d.Groups, errGroups = m.ask(ctx, "-g")
		failed := errors.Join(errUsers, errGroups)
		if failed == nil {
			return d, nil
		}
		if !m.inFiles() {
			return Delegated{}, failed
		}
	}
	d := Delegated{Where: filepath.Join(m.etc, "subuid")}
	var errUsers, errGroups error
	d.Users, errUsers = m.file("subuid", id)
	d.Groups, errGroups = m.file("subgid", id)
	return d, errors.Join(errUsers, errGroups)
}

// lookup finds the id of the user kubelet.
func (m machine) lookup() (id string, found bool, err error) {
	data, err := os.ReadFile(filepath.Join(m.etc, "passwd"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("look for user %s: %w", user, err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Split(line, ":"); len(fields) >= 3 && fields[0] == user {
			return fields[2], true, nil
		}
	}
	if m.etc != "/etc" {
		return "", false, nil
	}
	if u, err := osuser.Lookup(user); err == nil { // perhaps from a directory service
		return u.Uid, true, nil
	}
	return "", false, nil
}

// inFiles tells whether the machine has its delegations in /etc/subuid and /etc/subgid: nsswitch.conf names no plugin.
func (m machine) inFiles() bool {
	data, err := os.ReadFile(filepath.Join(m.etc, "nsswitch.conf"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if source, ours := strings.CutPrefix(strings.TrimSpace(line), "subid:"); ours {
			return strings.TrimSpace(source) == "files"
		}
	}
	return true
}

// ask runs getsubids; "-g" asks for group ids.
func (m machine) ask(ctx context.Context, option ...string) ([]Span, error) {
	cmd := exec.CommandContext(ctx, m.program, append(option, user)...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	shown := strings.Join(cmd.Args, " ")
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return nil, fmt.Errorf("run %s: %w", shown, err)
	}
	spans, err := parseProgram(string(out))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", shown, err)
	}
	return spans, nil
}

// parseProgram reads lines such as "0: kubelet 65536 7208960".
func parseProgram(text string) (spans []Span, err error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 4 || !strings.HasSuffix(fields[0], ":") {
			return nil, fmt.Errorf("cannot read the answer %q: want a line such as `0: %s 65536 7208960`", strings.TrimSpace(line), user)
		}
		s, err := parseSpan(fields[2], fields[3])
		if err != nil {
			return nil, fmt.Errorf("cannot read the answer %q: %w", strings.TrimSpace(line), err)
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// file reads /etc/subuid or /etc/subgid; a missing one delegates nothing.
func (m machine) file(name, id string) ([]Span, error) {
	path := filepath.Join(m.etc, name)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	spans, err := parseFile(string(data), id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spans, nil
}

// parseFile reads the lines "name:first:count" that are about the user kubelet, by name or by id. Lines about others
// do not matter, even damaged ones.
func parseFile(text, id string) (spans []Span, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Split(strings.TrimSpace(line), ":")
		if fields[0] != user && fields[0] != id {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d, %q: want %s:FIRST:COUNT", n, strings.TrimSpace(line), user)
		}
		s, err := parseSpan(fields[1], fields[2])
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", n, strings.TrimSpace(line), err)
		}
		spans = append(spans, s)
	}
	return spans, nil
}

func parseSpan(first, count string) (Span, error) {
	f, err := strconv.ParseUint(first, 10, 32)
	if err != nil {
		return Span{}, fmt.Errorf("the first id: %w", err)
	}
	c, err := strconv.ParseUint(count, 10, 32)
	if err != nil {
		return Span{}, fmt.Errorf("the number of ids: %w", err)
	}
	return Span{First: f, Count: c}, nil
}
