package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// logging is one `bosun logs`.
type logging struct {
	asking
	container, sinceTime string
	follow, previous     bool
	timestamps           bool
	tail, limit          int64
	since                time.Duration
}

func logsCommand() *cobra.Command {
	l := &logging{}
	c := &cobra.Command{
		Use: "logs POD [-c CONTAINER]", Aliases: []string{"log"}, Short: "Show what a container wrote", Args: cobra.ExactArgs(1),
		Example: "  bosun logs nginx\n  bosun logs nginx -c tail -f\n  bosun logs nginx --previous\n  bosun logs nginx --tail 20 --since 10m",
		RunE: func(c *cobra.Command, args []string) error {
			return l.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0])
		},
	}
	l.flags(c)
	f := c.Flags()
	f.StringVarP(&l.container, "container", "c", "", "the container; the pod's first one if there is none")
	f.BoolVarP(&l.follow, "follow", "f", false, "go on until the container ends")
	f.BoolVarP(&l.previous, "previous", "p", false, "that of the instance before the last restart")
	f.BoolVar(&l.timestamps, "timestamps", false, "with the time in front of each line")
	f.Int64Var(&l.tail, "tail", -1, "only the last lines; -1 for all")
	f.Int64Var(&l.limit, "limit-bytes", 0, "end after so many bytes; 0 for no limit")
	f.DurationVar(&l.since, "since", 0, "only what is not older, such as 90s or 2h")
	f.StringVar(&l.sinceTime, "since-time", "", "only what was written at this time or later, such as 2024-05-01T10:00:00Z")
	return c
}

func (l *logging) query() (url.Values, error) {
	q := url.Values{}
	for name, on := range map[string]bool{"follow": l.follow, "previous": l.previous, "timestamps": l.timestamps} {
		if on {
			q.Set(name, "true")
		}
	}
	if l.tail >= 0 {
		q.Set("tailLines", strconv.FormatInt(l.tail, 10))
	}
	if l.limit > 0 {
		q.Set("limitBytes", strconv.FormatInt(l.limit, 10))
	}
	switch {
	case l.since < 0:
		return nil, fmt.Errorf("--since %v: it must not be negative", l.since)
	case l.since > 0 && l.sinceTime != "":
		return nil, fmt.Errorf("give --since or --since-time, not both")
	case l.since > 0: // in whole seconds, rather more than less
		q.Set("sinceSeconds", strconv.FormatInt(int64((l.since+time.Second-1)/time.Second), 10))
	case l.sinceTime != "":
		q.Set("sinceTime", l.sinceTime)
	}
	return q, nil
}

func (l *logging) run(ctx context.Context, out, errs io.Writer, said string) error {
	q, err := l.query()
	if err != nil {
		return err
	}
	a, err := l.agent(ctx, true)
	if err != nil {
		return err
	}
	o, err := l.overview(ctx, a)
	if err != nil {
		return err
	}
	p, err := pick(o.Pods, said)
	if err != nil {
		return err
	}
	name, others, err := container(p, l.container)
	if err != nil {
		return err
	}
	fmt.Fprint(errs, chose(name, others))
	body, err := a.open(ctx, "/containerLogs/"+url.PathEscape(p.Namespace)+"/"+url.PathEscape(p.Name)+"/"+url.PathEscape(name), q)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(out, body); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}
