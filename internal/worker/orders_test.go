package worker

import (
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/plan"
)

// TestStricter holds that of two orders for one pod the one with less time counts, and of equal ones the first.
func TestStricter(t *testing.T) {
	preempted := &plan.Order{Reason: "Preempting", Grace: 10 * time.Second}
	longer, equal, shorter := &plan.Order{Grace: 11 * time.Second}, &plan.Order{Grace: 10 * time.Second}, &plan.Order{Grace: 9 * time.Second}
	for _, c := range []struct{ a, b, want *plan.Order }{
		{nil, nil, nil}, {preempted, nil, preempted}, {nil, longer, longer},
		{preempted, longer, preempted}, {preempted, equal, preempted}, {preempted, shorter, shorter},
	} {
		if got := stricter(c.a, c.b); got != c.want {
			t.Errorf("of %+v and %+v it is %+v", c.a, c.b, got)
		}
	}
}
