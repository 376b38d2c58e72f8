package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ForgetCode gives back the pages of the program's file that were needed to start, and returns how many bytes that were.
// What is needed again comes back from the page cache by itself. Nearly all of the file is touched once, by the packages
// that initialise themselves; a fraction of it is used afterwards.
func ForgetCode() (int, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, fmt.Errorf("find the pages of the program: %w", err)
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("find the pages of the program: %w", err)
	}
	given := 0
	for _, r := range codeRanges(string(maps), program) {
		// The range is read only and backed by the file, so that dropping it loses nothing.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, r.from, r.to-r.from, unix.MADV_DONTNEED); errno != 0 {
			return given, fmt.Errorf("give back the pages of the program: %w", errno)
		}
		given += int(r.to - r.from)
	}
	return given, nil
}

// A pageRange is a piece of the address space.
type pageRange struct{ from, to uintptr }

// codeRanges are the pieces of /proc/self/maps that are private, read only, and backed by the program's file.
func codeRanges(maps, program string) []pageRange {
	var out []pageRange
	for line := range strings.Lines(maps) {
		f := strings.Fields(line)
		if len(f) != 6 || f[5] != program || f[1] != "r-xp" && f[1] != "r--p" {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		a, err := strconv.ParseUint(from, 16, 64)
		b, err2 := strconv.ParseUint(to, 16, 64)
		if err == nil && err2 == nil && a < b {
			out = append(out, pageRange{uintptr(a), uintptr(b)})
		}
	}
	return out
}
