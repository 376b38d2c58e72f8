package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// Booted is when the machine was started; now if that cannot be told.
func Booted() time.Time {
	now := time.Now()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return now
	}
	return now.Add(-time.Duration(up.Nano()))
}
