package probe

import "time"

const (
	// pulse is how often the loop looks at the time while a question is open.
	pulse = 100 * time.Millisecond
	// noise is how late a timer may be without meaning anything.
	noise = 20 * time.Millisecond
	// jump is how far the two clocks may drift apart between two looks.
	jump = 250 * time.Millisecond
)

// lag measures by how much the agent itself was late, summed up since it began.
type lag struct {
	now, wall func() time.Time
	// expected is when the loop has to be awake at the latest, said anew after each look; zero if nothing wakes it.
	expected time.Time
	lastNow  time.Time
	lastWall time.Time
	total    time.Duration
}

// look takes the time, and adds by how much the loop woke later than it should have, and by how much the wall clock
// went otherwise than time did: then it was set, or the machine slept.
func (l *lag) look() time.Time {
	now, wall := l.now(), l.wall()
	if late := now.Sub(l.expected); !l.expected.IsZero() && late > noise {
		l.total += late
	}
	if !l.lastNow.IsZero() {
		if apart := (wall.Sub(l.lastWall) - now.Sub(l.lastNow)).Abs(); apart > jump {
			l.total += apart
		}
	}
	l.lastNow, l.lastWall = now, wall
	return now
}
