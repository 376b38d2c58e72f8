package process

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells systemd that the agent has started, if systemd wants to know (a service of Type=notify).
func Ready() error { return tell(daemon.SdNotifyReady) }

// Stopping tells systemd that the agent is about to end.
func Stopping() error { return tell(daemon.SdNotifyStopping) }

func tell(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("tell systemd %s: %w", state, err)
	}
	return nil
}

// leastWatchdog is the shortest watchdog interval that is taken, as upstream.
const leastWatchdog = time.Second

// Watchdog tells systemd that the agent is alive (WatchdogSec= of the service), for as long as it is well.
type Watchdog struct {
	// every is the time between two tellings; 0 if systemd does not watch.
	every   time.Duration
	healthy func() error
	log     *slog.Logger
	tell    func(state string) error
}

// NewWatchdog reads what systemd asks for. healthy tells why the agent is not well, nil if it is; a call that hangs is
// taken for not well by systemd. An interval that makes no sense, or is under a second, is an error.
func NewWatchdog(healthy func() error, log *slog.Logger) (*Watchdog, error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("read the watchdog interval systemd sets: %w", err)
	}
	if interval != 0 && interval < leastWatchdog {
		return nil, fmt.Errorf("the watchdog interval systemd sets is %v: want WatchdogSec=%v or more in the service", interval, leastWatchdog)
	}
	return &Watchdog{every: interval / 2, healthy: healthy, log: log, tell: tell}, nil
}

// Run tells systemd twice in each interval until the context ends; it only waits for that if systemd does not watch.
func (w *Watchdog) Run(ctx context.Context) error {
	if w.every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for quiet := ""; ; {
		quiet = w.step(quiet)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// step tells systemd once, if all is well. before is why the step before did not; what keeps this one is returned.
func (w *Watchdog) step(before string) string {
	err := w.healthy()
	if err == nil {
		err = w.tell(daemon.SdNotifyWatchdog)
	}
	switch {
	case err == nil && before != "":
		w.log.Info("systemd's watchdog is fed again")
	case err != nil && before == "":
		w.log.Error("systemd's watchdog is not fed: the service will be restarted unless this ends", "within", 2*w.every, "err", err)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}
