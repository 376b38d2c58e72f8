package boxruntime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// maxLog is the size at which containerd's log is put aside before the next start.
const maxLog = 4 << 20

// openLog opens the log for appending; one that has grown too long becomes FILE.1 first, over the one before it.
func openLog(file string) (*os.File, error) {
	if info, err := os.Stat(file); err == nil && info.Size() >= maxLog {
		if err := os.Rename(file, file+".1"); err != nil {
			return nil, fmt.Errorf("rotate containerd's log: %w", err)
		}
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open containerd's log: %w", err)
	}
	return f, nil
}

// Limits of what of the log is put into an error.
const (
	tailLines = 8
	tailBytes = 16 << 10
)

// logTail returns the last lines of the log written at or after offset that say what went wrong.
func logTail(file string, offset int64) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	// A log that was rotated or cut meanwhile is shorter than the offset says.
	from := max(offset, size-tailBytes)
	if offset > size {
		from = max(0, size-tailBytes)
	}
	data := make([]byte, size-from)
	n, err := f.ReadAt(data, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return telling(string(data[:n]))
}

// telling picks the last lines that say what went wrong. A Go panic is kept from its first line on.
func telling(log string) []string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			return clip(lines[i:min(len(lines), i+tailLines)])
		}
	}
	var bad []string
	for _, line := range lines {
		if !quiet.MatchString(line) {
			bad = append(bad, line)
		}
	}
	return clip(bad[max(0, len(bad)-tailLines):])
}

// quiet are lines below warning, and warnings that come at every start.
var quiet = regexp.MustCompile(`level=(trace|debug|info)|Configuration migrated|fsverity|DEPRECATION: The support for cgroup v1|^\s*$`)

func clip(lines []string) []string {
	var out []string
	for _, line := range lines {
		if len(line) > 500 {
			line = strings.ToValidUTF8(line[:500], "") + "…"
		}
		if line != "" {
			out = append(out, line)
		}
	}
	return out
}
