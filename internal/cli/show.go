package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/bosun-project/bosun/internal/serve"
)

// Live is what the live view shows.
type Live interface {
	// Pods returns the pods, and a channel that is closed when they may have changed.
	Pods() ([]serve.Pod, <-chan struct{})
	Problems() []serve.Problem
	// Pulls returns the pulls of images in flight. An error means that bytes are not known; the rest holds.
	Pulls(ctx context.Context) (serve.Pulls, error)
}

// How often the view is looked at: after a change, while bytes come in, and while something goes on that takes time.
const (
	showGap        = 100 * time.Millisecond
	showPullsEvery = 250 * time.Millisecond
	showBusyEvery  = time.Second
	// plainPullsEvery is the time between two lines about bytes where lines cannot be redrawn.
	plainPullsEvery = 5 * time.Second
)

// Show shows pods becoming ready until ctx ends: on a terminal as a table that is redrawn in place, with a line about
// the bytes of images being pulled; elsewhere as a line for each change.
func Show(ctx context.Context, out io.Writer, live Live) {
	s := &screen{out: out, paint: painter(out), now: time.Now}
	if f, ok := out.(*os.File); ok && isTerminal(out) && os.Getenv("TERM") != "dumb" {
		s.size = func() (int, int, error) { return term.GetSize(int(f.Fd())) }
	}
	s.show(ctx, live)
}

// screen is where the view is drawn.
type screen struct {
	paint
	out io.Writer
	now func() time.Time
	// size returns columns and rows; nil where nothing can be redrawn.
	size func() (width, height int, err error)
	// drawn is how many lines of the last picture are to be replaced.
	drawn int
	last  string

	// said holds what was written last of each pod (by UID) and manifest, where nothing can be redrawn.
	said      map[string]told
	saidBytes time.Time
	saidReady bool
}

// told is a line that was written: what made it worth writing, and what to say when it is no longer so.
type told struct{ look, gone string }

func (s *screen) show(ctx context.Context, live Live) {
	for ctx.Err() == nil {
		pods, newer := live.Pods()
		pulls, _ := live.Pulls(ctx)
		if err := s.draw(pods, live.Problems(), pulls); err != nil {
			return
		}
		if !pause(ctx, showGap, nil) || !pause(ctx, s.until(pods, pulls), newer) {
			return
		}
	}
}

// until is how long the picture holds if nothing changes; 0 for ever.
func (s *screen) until(pods []serve.Pod, pulls serve.Pulls) time.Duration {
	switch {
	case len(pulls.Pulls) > 0 && s.size != nil:
		return showPullsEvery
	case len(pulls.Pulls) > 0:
		return plainPullsEvery
	case s.size != nil && len(pods) > settled(pods):
		return showBusyEvery
	}
	return 0
}

func pause(ctx context.Context, d time.Duration, newer <-chan struct{}) bool {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-over:
	case <-newer:
	}
	return true
}

func settled(pods []serve.Pod) int {
	n := 0
	for i := range pods {
		if pods[i].Settled {
			n++
		}
	}
	return n
}

func (s *screen) draw(pods []serve.Pod, problems []serve.Problem, pulls serve.Pulls) error {
	if s.size == nil {
		return s.lines(pods, problems, pulls)
	}
	return s.picture(pods, problems, pulls)
}

// picture replaces the last picture by a new one.
func (s *screen) picture(pods []serve.Pod, problems []serve.Problem, pulls serve.Pulls) error {
	width, height, err := s.size()
	if err != nil || width < 20 || height < 4 {
		width, height = 80, 24
	}
	var text strings.Builder
	rows, hidden := s.rows(pods, height-4)
	_ = columns(&text, rows)
	if hidden > 0 {
		fmt.Fprintf(&text, "%s\n", s.dim(fmt.Sprintf("and %s that %s as they should be", count(hidden, "pod"), are(hidden))))
	}
	for _, p := range problems {
		fmt.Fprintf(&text, "%s\n", s.red(clean("manifest "+p.Origin+" cannot be used: "+strings.Join(p.Messages, "; "))))
	}
	if line := pulling(pulls); line != "" {
		fmt.Fprintf(&text, "%s\n", line)
	}
	fmt.Fprintf(&text, "%s\n", s.verdict(pods))
	var lines []string
	for line := range strings.Lines(text.String()) {
		lines = append(lines, fit(strings.TrimSuffix(line, "\n"), width-1))
	}
	if len(lines) > height-1 {
		lines = lines[len(lines)-height+1:]
	}
	picture := strings.Join(lines, "\n") + "\n"
	if picture == s.last {
		return nil
	}
	back := ""
	if s.drawn > 0 {
		back = fmt.Sprintf("\x1b[%dA\r\x1b[J", s.drawn)
	}
	s.last, s.drawn = picture, len(lines)
	_, err = io.WriteString(s.out, back+picture)
	return err
}

// rows are the pods as a table of at most so many rows: if that is too few, those that are as they should be are left out.
func (s *screen) rows(pods []serve.Pod, most int) (rows [][]cell, hidden int) {
	all := len(pods) <= most
	for i := range pods {
		p := &pods[i]
		if !all && p.Settled {
			hidden++
			continue
		}
		rows = append(rows, []cell{
			{p.Namespace + "/" + p.Name, s.bold}, plain(strconv.Itoa(p.Ready) + "/" + strconv.Itoa(p.Containers)),
			{p.Status, func(word string) string { return s.status(word, p.Settled) }}, plain(clean(p.Summary)),
		})
	}
	return rows, hidden
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// verdict sums everything up.
func (s *screen) verdict(pods []serve.Pod) string {
	done := settled(pods)
	switch {
	case len(pods) == 0:
		return s.yellow("no pods")
	case done == len(pods):
		return s.green(fmt.Sprintf("all of it runs: %s", count(done, "pod")))
	}
	return s.yellow(fmt.Sprintf("%d of %s as they should be", done, count(len(pods), "pod")))
}

// pulling is the line about images being pulled; empty if none are.
func pulling(p serve.Pulls) string {
	if len(p.Pulls) == 0 {
		return ""
	}
	var images []string
	for _, one := range p.Pulls {
		images = append(images, clean(one.Image))
	}
	const few = 3
	what := strings.Join(images[:min(len(images), few)], ", ")
	if len(images) > few {
		what += fmt.Sprintf(" and %d more", len(images)-few)
	}
	if p.Total <= 0 {
		return "pulling " + what
	}
	const width = 20
	full := int(min(p.Done, p.Total) * width / p.Total)
	bar := strings.Repeat("█", full) + strings.Repeat("░", width-full)
	return fmt.Sprintf("pulling %s %s %s of %s", what, bar, amount(p.Done), amount(p.Total))
}

// amount is a number of bytes as people say it.
func amount(n int64) string {
	const unit = 1000
	switch {
	case n < unit:
		return strconv.FormatInt(n, 10) + " B"
	case n < unit*unit:
		return fmt.Sprintf("%.1f kB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MB", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/unit/unit/unit)
}

// fit cuts a line to the width of the terminal, so that it stays one line; colours take no room.
func fit(line string, width int) string {
	var out strings.Builder
	room, coloured := width, false
	for len(line) > 0 {
		if strings.HasPrefix(line, "\x1b[") {
			end := strings.IndexByte(line, 'm')
			if end < 0 {
				break
			}
			out.WriteString(line[:end+1])
			coloured = line[:end+1] != "\x1b[0m"
			line = line[end+1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(line)
		if room == 1 && utf8.RuneCountInString(stripped(line)) > 1 {
			out.WriteString("…")
			break
		}
		if room == 0 {
			break
		}
		room--
		out.WriteRune(r)
		line = line[size:]
	}
	if coloured {
		out.WriteString("\x1b[0m")
	}
	return out.String()
}

// stripped is a line without its colours.
func stripped(line string) string {
	for {
		begin := strings.Index(line, "\x1b[")
		if begin < 0 {
			return line
		}
		end := strings.IndexByte(line[begin:], 'm')
		if end < 0 {
			return line[:begin]
		}
		line = line[:begin] + line[begin+end+1:]
	}
}

// lines writes a line for each change.
func (s *screen) lines(pods []serve.Pod, problems []serve.Problem, pulls serve.Pulls) error {
	if s.said == nil {
		s.said = map[string]told{}
	}
	var text strings.Builder
	there := map[string]bool{}
	say := func(key string, now told, line string) {
		there[key] = true
		if s.said[key] != now {
			s.said[key] = now
			fmt.Fprintf(&text, "%s %s\n", timeOf(s.now()), line)
		}
	}
	for i := range pods {
		p := &pods[i]
		name := p.Namespace + "/" + p.Name
		say(p.UID, told{looks(p), name + " is gone"}, fmt.Sprintf("%s %d/%d %s: it %s", name, p.Ready, p.Containers, p.Status, clean(p.Summary)))
	}
	for _, p := range problems {
		why, name := clean(strings.Join(p.Messages, "; ")), "manifest "+clean(p.Origin)
		say(name, told{why, name + " is in order again, or gone"}, name+" cannot be used: "+why)
	}
	for _, key := range slices.Sorted(maps.Keys(s.said)) {
		if !there[key] {
			fmt.Fprintf(&text, "%s %s\n", timeOf(s.now()), s.said[key].gone)
			delete(s.said, key)
		}
	}
	if line := pulling(pulls); line != "" && s.now().Sub(s.saidBytes) >= plainPullsEvery {
		s.saidBytes = s.now()
		fmt.Fprintf(&text, "%s %s\n", timeOf(s.now()), line)
	}
	if ready := len(pods) > 0 && settled(pods) == len(pods); ready != s.saidReady {
		s.saidReady = ready
		if ready {
			fmt.Fprintf(&text, "%s %s\n", timeOf(s.now()), s.verdict(pods))
		}
	}
	_, err := io.WriteString(s.out, text.String())
	return err
}

// looks is what makes a line worth writing: the story without how long it has gone on.
func looks(p *serve.Pod) string {
	look := fmt.Sprint(p.Status, p.Ready, p.Containers, p.Restarts, p.Settled)
	if len(p.Failures) > 0 {
		look += p.Failures[0].Effect + p.Failures[0].Message
	}
	return look
}
