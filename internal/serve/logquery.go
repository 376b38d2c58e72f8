package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// longestQuery bounds how long the journal is read for one request.
	longestQuery = 30 * time.Second
	// mostServices and longestName bound what may be asked for at once.
	mostServices = 4
	longestName  = 256
	mostLines    = 100000
	// journalTime is how the journal takes times.
	journalTime = "2006-01-02 15:04:05 UTC"
)

// serviceName is what the name of a service may be made of.
var serviceName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.:@\\-]*$`)

// nodeQuery is what a query of the node's logs asks: for services, or for one file.
type nodeQuery struct {
	services     []string
	file         string
	since, until time.Time
	lines        *int
	pattern      string
	boot         *int
}

func parseNodeQuery(q url.Values) (nodeQuery, error) {
	var n nodeQuery
	bad := func(format string, args ...any) (nodeQuery, error) {
		return nodeQuery{}, refuse(http.StatusBadRequest, format, args...)
	}
	for _, name := range q["query"] {
		name = strings.TrimSpace(name)
		switch {
		case name == "":
			return bad("query: want the name of a service, or the path of a file below the directory of logs, which begins with a slash")
		case len(name) > longestName:
			return bad("query: %q… is longer than %d characters", name[:32], longestName)
		case name[0] == '/' && n.file != "":
			return bad("query: want one file at a time")
		case name[0] == '/':
			n.file = name
		case !serviceName.MatchString(name):
			return bad("query: %q is no name of a service", name)
		default:
			n.services = append(n.services, name)
		}
	}
	switch {
	case n.file != "" && len(n.services) > 0:
		return bad("query: want services or a file, not both")
	case len(n.services) > mostServices:
		return bad("query: want at most %d services, these are %d", mostServices, len(n.services))
	}
	return n, n.limits(q)
}

// limits reads what narrows a query down.
func (n *nodeQuery) limits(q url.Values) error {
	for name, to := range map[string]*time.Time{"sinceTime": &n.since, "untilTime": &n.until} {
		if text := q.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return refuse(http.StatusBadRequest, "%s: %q is not a time such as 2024-05-01T10:00:00Z", name, text)
			}
			*to = at
		}
	}
	if !n.since.IsZero() && !n.until.IsZero() && n.until.Before(n.since) {
		return refuse(http.StatusBadRequest, "untilTime: it is before sinceTime")
	}
	if text := q.Get("tailLines"); text != "" {
		lines, err := strconv.Atoi(text)
		if err != nil || lines < 0 || lines > mostLines {
			return refuse(http.StatusBadRequest, "tailLines: %q is not a number from 0 to %d", text, mostLines)
		}
		n.lines = &lines
	}
	if text := q.Get("boot"); text != "" {
		boot, err := strconv.Atoi(text)
		if err != nil || boot > 0 {
			return refuse(http.StatusBadRequest, "boot: %q is not 0 (this boot) or a number below (earlier ones)", text)
		}
		n.boot = &boot
	}
	if n.pattern = q.Get("pattern"); n.pattern != "" {
		if _, err := regexp.Compile(n.pattern); err != nil || strings.ContainsRune(n.pattern, 0) {
			return refuse(http.StatusBadRequest, "pattern: %q is no regular expression", n.pattern)
		}
	}
	if n.file != "" && (n.lines != nil || n.boot != nil || n.pattern != "" || !n.since.IsZero() || !n.until.IsZero()) {
		return refuse(http.StatusBadRequest, "query: a file is shown whole; tailLines, boot, pattern and times go with services")
	}
	return nil
}

// arguments are those of journalctl.
func (n *nodeQuery) arguments() []string {
	args := []string{"--utc", "--no-pager", "--quiet", "--output=short-precise"}
	if !n.since.IsZero() {
		args = append(args, "--since="+n.since.UTC().Format(journalTime))
	}
	if !n.until.IsZero() {
		args = append(args, "--until="+n.until.UTC().Format(journalTime))
	}
	if n.lines != nil {
		args = append(args, "--lines="+strconv.Itoa(*n.lines))
	}
	if n.pattern != "" {
		args = append(args, "--grep="+n.pattern)
	}
	if n.boot != nil {
		args = append(args, "--boot="+strconv.Itoa(*n.boot))
	}
	for _, name := range n.services {
		args = append(args, "--unit="+name)
	}
	return args
}

// queryLogs answers a query of the node's logs: from the journal, or, where that knows nothing of a service, from its
// file below the directory of logs.
func (f *Faces) queryLogs(w http.ResponseWriter, r *http.Request) {
	n, err := parseNodeQuery(r.URL.Query())
	if err == nil && strings.Trim(r.URL.Path, "/") != "logs" {
		err = refuse(http.StatusBadRequest, "a query belongs to /logs/, not to a file below it")
	}
	if err != nil {
		f.sayNo(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if n.file != "" {
		if err := f.copyLog(w, n.file); err != nil {
			f.sayNo(w, r, refuse(http.StatusNotFound, "%s is not below the directory of logs", n.file))
		}
		return
	}
	out := &counting{out: w}
	err = f.readJournal(r.Context(), out, &n)
	if out.n > 0 || r.Context().Err() != nil {
		if err != nil && r.Context().Err() == nil {
			f.cfg.Log.Warn("the journal could not be read to its end", "services", n.services, "err", err)
		}
		return
	}
	found := false
	for _, name := range n.services {
		for _, file := range []string{name, name + ".log", name + "/" + name + ".log"} {
			if f.copyLog(w, file) == nil {
				found = true
				break
			}
		}
	}
	if err != nil && !found {
		f.sayNo(w, r, refuse(http.StatusNotFound, "no log of %s: %v, and the directory of logs has no file of that name", strings.Join(n.services, ", "), err))
	}
}

// readJournal writes what the journal has. Nothing found is no error.
func (f *Faces) readJournal(ctx context.Context, out *counting, n *nodeQuery) error {
	ctx, done := context.WithTimeout(ctx, longestQuery)
	defer done()
	var said strings.Builder
	command := exec.CommandContext(ctx, f.journal, n.arguments()...)
	command.Stdout, command.Stderr, command.WaitDelay = out, &capped{to: &said, left: 1024}, time.Second
	err := command.Run()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the journal took longer than %v", longestQuery)
	case errors.As(err, &ended) && said.Len() == 0: // what --grep says when nothing matches
		return nil
	case errors.As(err, &ended):
		return errors.New("the journal says: " + strings.TrimSpace(said.String()))
	case err != nil:
		return errors.New("this node has no journal that can be read")
	}
	return nil
}

// copyLog writes a file below the directory of logs.
func (f *Faces) copyLog(w io.Writer, name string) error {
	file, err := f.logTree().Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return errSpecial
	}
	_, _ = io.Copy(w, file) // it has begun: the answer can only end early
	return nil
}

// counting counts what it passes on.
type counting struct {
	out io.Writer
	n   int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	c.n += int64(n)
	return n, err
}

// capped takes the beginning of what is written, and claims to take it all.
type capped struct {
	to   *strings.Builder
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.to.Write(p[:n])
	c.left -= n
	return len(p), nil
}
