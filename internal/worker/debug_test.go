package worker_test

import (
	"fmt"
	"os"
	"time"

	"github.com/bosun-project/bosun/internal/plan"
)

func debug(in plan.Input, p plan.Plan) {
	if os.Getenv("BOSUN_PLANS") != string(in.Desired.UID()) {
		return
	}
	fmt.Printf("%s %s->%s insp=%s stale=%s surp=%s\n", time.Now().Format("15:04:05.000000"), in.Memory.Stage, p.Memory.Stage, in.Observed.Inspected.Format("05.000000"), in.Memory.Session.Stale.Format("05.000000"), in.Observed.Surprised.Format("05.000000"))
	for _, s := range in.Observed.Sandboxes {
		fmt.Printf("    sandbox %s #%d ready=%v gone=%v seen=%s\n", s.ID, s.Attempt, s.Ready, s.Gone, s.Seen.Format("05.000000"))
	}
	for _, c := range in.Observed.Containers {
		fmt.Printf("    container %s %s#%d %s in %s seen=%s\n", c.ID, c.Name, c.Attempt, c.State, c.SandboxID, c.Seen.Format("05.000000"))
	}
	for _, e := range p.Effects {
		fmt.Printf("    want %s id=%s deadline=%s\n", e.Key(), e.ID, e.Deadline.Format("05.000000"))
	}
	for _, e := range in.InFlight {
		fmt.Printf("    flying %s id=%s\n", e.Key(), e.ID)
	}
	for _, w := range p.Waits {
		fmt.Printf("    wait %s until %s\n", w.For, w.Until.Format("05.000"))
	}
}
