package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/serve"
)

func getCommand() *cobra.Command {
	c := &cobra.Command{Use: "get", Short: "List pods or events", Long: "List what the agent on this node has:\n  bosun get pods     the pods\n  bosun get events   what happened"}
	c.AddCommand(getPodsCommand(), getEventsCommand())
	return c
}

// getting is one `bosun get pods`.
type getting struct {
	asking
	output string
	watch  bool
}

func getPodsCommand() *cobra.Command {
	g := &getting{}
	c := &cobra.Command{
		Use: "pods [NAME...]", Aliases: []string{"pod", "po"}, Short: "List the pods of this node",
		Example: "  bosun get pods\n  bosun get pods -o wide\n  bosun get pods nginx -o yaml\n  bosun get pods -w",
		RunE:    func(c *cobra.Command, args []string) error { return g.run(c.Context(), c.OutOrStdout(), args) },
	}
	g.flags(c)
	c.Flags().StringVarP(&g.output, "output", "o", "", "wide, json or yaml")
	c.Flags().BoolVarP(&g.watch, "watch", "w", false, "go on, with a line for each change")
	return c
}

func (g *getting) run(ctx context.Context, out io.Writer, names []string) error {
	text := g.output == "" || g.output == "wide"
	switch {
	case !text && g.output != "json" && g.output != "yaml":
		return fmt.Errorf("-o %q: it may be wide, json or yaml", g.output)
	case g.watch && !text:
		return errors.New("-w goes with -o wide or without -o only")
	}
	a, err := g.agent(ctx, true)
	switch {
	case err != nil:
		return err
	case g.watch:
		return g.follow(ctx, a, out, names)
	}
	o, err := g.overview(ctx, a)
	if err != nil {
		return err
	}
	pods, err := chosen(o.Pods, names)
	if err != nil {
		return err
	}
	if !text {
		return g.objects(ctx, a, out, pods, len(names) == 1)
	}
	if len(pods) == 0 {
		_, err := fmt.Fprintln(out, "no pods"+hint(o.Problems))
		return err
	}
	return columns(out, g.table(pods, painter(out), true))
}

// hint points to manifests that cannot be used.
func hint(problems []serve.Problem) string {
	if len(problems) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s cannot be used: see `bosun explain`", count(len(problems), "manifest"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// chosen are the pods of these names; all if there are none.
func chosen(pods []serve.Pod, names []string) ([]serve.Pod, error) {
	if len(names) == 0 {
		return pods, nil
	}
	var out []serve.Pod
	for _, name := range names {
		p, err := pick(pods, name)
		if err != nil {
			return nil, err
		}
		out = append(out, *p)
	}
	return out, nil
}

// table shows pods, one a row.
func (g *getting) table(pods []serve.Pod, p paint, head bool) [][]cell {
	var rows [][]cell
	if head {
		titles := []string{"NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"}
		if g.output == "wide" {
			titles = append(titles, "IP", "SOURCE", "WHY")
		}
		row := make([]cell, 0, len(titles))
		for _, title := range titles {
			row = append(row, cell{title, p.dim})
		}
		rows = append(rows, row)
	}
	for i := range pods {
		rows = append(rows, g.row(&pods[i], p))
	}
	return rows
}

func (g *getting) row(p *serve.Pod, with paint) []cell {
	now := g.now()
	restarts := strconv.Itoa(p.Restarts)
	if p.Restarts > 0 && !p.LastRestart.IsZero() {
		restarts += " (" + serve.Span(now.Sub(p.LastRestart)) + " ago)"
	}
	row := []cell{
		plain(p.Namespace), {p.Name, with.bold}, plain(strconv.Itoa(p.Ready) + "/" + strconv.Itoa(p.Containers)),
		{p.Status, func(word string) string { return with.status(word, p.Settled) }}, plain(restarts), plain(age(p, now)),
	}
	if g.output != "wide" {
		return row
	}
	ip := "-"
	if len(p.IPs) > 0 {
		ip = p.IPs[0]
	}
	from := p.Source
	if p.Origin != "" {
		from += " " + p.Origin
	}
	return append(row, plain(ip), plain(from), plain(clean(p.Summary)))
}

// age is how long a pod has been here: since its sandbox was made, or while there is none, since it was first seen.
func age(p *serve.Pod, now time.Time) string {
	at := p.Started
	if at.IsZero() {
		at = p.Seen
	}
	if at.IsZero() {
		return "-"
	}
	return serve.Span(now.Sub(at))
}

// objects shows pods as the API has them.
func (g *getting) objects(ctx context.Context, a *agent, out io.Writer, pods []serve.Pod, alone bool) error {
	var list v1.PodList
	if err := a.read(ctx, "/pods", &list); err != nil {
		return err
	}
	list.Items = slices.DeleteFunc(list.Items, func(have v1.Pod) bool {
		return !slices.ContainsFunc(pods, func(p serve.Pod) bool { return p.UID == string(have.UID) })
	})
	for i := range list.Items {
		list.Items[i].Kind, list.Items[i].APIVersion = "Pod", "v1"
	}
	var value any = list
	if alone && len(list.Items) == 1 {
		value = list.Items[0]
	}
	text, err := json.MarshalIndent(value, "", "  ")
	if err == nil && g.output == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("show pods: %w", err)
	}
	_, err = fmt.Fprintln(out, strings.TrimSuffix(string(text), "\n"))
	return err
}

// follow shows all pods, then each one that looks otherwise than before.
func (g *getting) follow(ctx context.Context, a *agent, out io.Writer, names []string) error {
	body, err := a.open(ctx, "/debug/pods", map[string][]string{"watch": {"true"}})
	if err != nil {
		return err
	}
	defer body.Close()
	shown := map[string]serve.Pod{} // by UID
	first := true
	for stream := json.NewDecoder(body); ; first = false {
		var o serve.Overview
		if err := stream.Decode(&o); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the agent ended the list: %w", err)
		}
		pods := g.mine(o.Pods)
		if len(names) > 0 {
			pods = slices.DeleteFunc(pods, func(p serve.Pod) bool {
				return !slices.ContainsFunc(names, func(name string) bool { _, err := pick([]serve.Pod{p}, name); return err == nil })
			})
		}
		changed := changes(shown, pods)
		if len(changed) == 0 && !first {
			continue
		}
		if err := columns(out, g.table(changed, painter(out), first)); err != nil {
			return err
		}
	}
}

// changes are the pods that look otherwise than when they were shown, and those that are gone.
func changes(shown map[string]serve.Pod, pods []serve.Pod) []serve.Pod {
	look := func(p serve.Pod) string { return fmt.Sprint(p.Status, p.Ready, p.Containers, p.Restarts, p.IPs) }
	var out []serve.Pod
	there := map[string]bool{}
	for _, p := range pods {
		there[p.UID] = true
		if before, known := shown[p.UID]; !known || look(before) != look(p) {
			out = append(out, p)
		}
		shown[p.UID] = p
	}
	for _, uid := range slices.Sorted(maps.Keys(shown)) {
		if !there[uid] {
			p := shown[uid]
			p.Status, p.Summary, p.Ready = "Gone", "is gone", 0
			out = append(out, p)
			delete(shown, uid)
		}
	}
	return out
}

func getEventsCommand() *cobra.Command {
	q := &asking{}
	c := &cobra.Command{
		Use: "events [POD]", Aliases: []string{"event", "ev"}, Short: "List what happened on this node, oldest first", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return q.events(c.Context(), c.OutOrStdout(), args) },
	}
	q.flags(c)
	return c
}

func (q *asking) events(ctx context.Context, out io.Writer, args []string) error {
	a, err := q.agent(ctx, true)
	if err != nil {
		return err
	}
	var all serve.Events
	if err := a.read(ctx, "/events", &all); err != nil {
		return err
	}
	keep := func(e serve.Event) bool { return q.namespace == "" || e.Namespace == q.namespace }
	if len(args) == 1 {
		keep = q.about(ctx, a, args[0])
	}
	with := painter(out)
	rows := [][]cell{}
	for _, title := range []string{"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"} {
		if len(rows) == 0 {
			rows = append(rows, nil)
		}
		rows[0] = append(rows[0], cell{title, with.dim})
	}
	for _, e := range all.Events {
		if keep(e) {
			rows = append(rows, q.eventRow(e, with))
		}
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(out, "no events")
		return err
	}
	return columns(out, rows)
}

// about keeps the events of one pod: by its UID if it is there, else by its name, so that events outlive pods.
func (q *asking) about(ctx context.Context, a *agent, said string) func(serve.Event) bool {
	if o, err := q.overview(ctx, a); err == nil {
		if p, err := pick(o.Pods, said); err == nil {
			return func(e serve.Event) bool { return e.UID == p.UID || e.Namespace == p.Namespace && e.Name == p.Name }
		}
	}
	namespace, name, ok := strings.Cut(said, "/")
	if !ok {
		namespace, name = q.namespace, said
	}
	return func(e serve.Event) bool { return e.Name == name && (namespace == "" || e.Namespace == namespace) }
}

func (q *asking) eventRow(e serve.Event, with paint) []cell {
	seen := serve.Span(q.now().Sub(e.At))
	if e.Count > 1 {
		seen += fmt.Sprintf(" (x%d", e.Count)
		if !e.Since.IsZero() {
			seen += " over " + serve.Span(e.At.Sub(e.Since))
		}
		seen += ")"
	}
	level := cell{text: e.Level}
	if e.Level != "Normal" {
		level.paint = with.yellow
	}
	about := strings.ToLower(e.Kind)
	if e.Name != "" && !strings.HasPrefix(e.Name, "/") { // else it is no object but a file
		about += "/"
	} else if e.Name != "" {
		about += " "
	}
	about += e.Name
	if e.Container != "" {
		about += " " + e.Container
	}
	return []cell{plain(seen), level, plain(e.Reason), plain(about), plain(clean(strings.ReplaceAll(e.Message, "\n", " ")))}
}
