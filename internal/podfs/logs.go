package podfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/safepath"
)

// logEnd is the end of a log: at most limit bytes and maxLogLines lines of what the container wrote to both streams.
func (f *Files) logEnd(path string, limit int) (string, error) {
	rel, err := filepath.Rel(f.logs, path)
	if err != nil || path == "" || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("log %q is not below %s", path, f.logs)
	}
	logs, err := openIfThere(f.logs)
	if err != nil || logs == nil {
		return "", err
	}
	defer logs.Close()
	file, err := logs.OpenFile(rel, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := tailLog(file, limit, maxLogLines)
	return printable(data), err
}

// maxLogWindow is how far back tailLog looks: a log of nothing but empty pieces has an end, too.
const maxLogWindow = 1 << 20

// tailLog reads a log backwards until it has enough.
func tailLog(file *os.File, limit, maxLines int) ([]byte, error) {
	for window := int64(16 << 10); ; window *= 4 {
		raw, whole, err := readTail(file, window)
		if err != nil {
			return nil, err
		}
		if !whole { // begins in the middle of a line
			_, raw, _ = bytes.Cut(raw, []byte{'\n'})
		}
		lines := joinLines(raw)
		enough := len(lines) > maxLines
		lines = lines[max(0, len(lines)-maxLines):]
		text := bytes.Join(lines, nil)
		if whole || enough || len(text) >= limit || window >= maxLogWindow {
			return text[max(0, len(text)-limit):], nil
		}
	}
}

// joinLines takes the containers' words out of raw log lines; pieces of one line are joined. What is no log line is
// left out.
func joinLines(raw []byte) [][]byte {
	var lines [][]byte
	open := map[string][]byte{} // the line begun on each stream
	for entry := range bytes.Lines(raw) {
		l, err := ParseLogLine(entry)
		if err != nil {
			continue
		}
		text := append(open[l.Stream], l.Text...)
		if l.Partial {
			open[l.Stream] = text
			continue
		}
		delete(open, l.Stream)
		lines = append(lines, append(text, '\n'))
	}
	for _, stream := range []string{"stdout", "stderr"} { // a last line without an end
		if text := open[stream]; len(text) > 0 {
			lines = append(lines, text)
		}
	}
	return lines
}

// Link makes the link in /var/log/containers by which log collectors find a container's log.
func (f *Files) Link(_ context.Context, p *v1.Pod, container, id, logPath string) error {
	if logPath == "" {
		return nil
	}
	name, err := linkName(p, container, id)
	if err != nil {
		return about(p, "link log of container "+container, err)
	}
	links, err := safepath.Make(f.links, logMode)
	if err != nil {
		return about(p, "link log of container "+container, err)
	}
	defer links.Close()
	if old, err := links.Readlink(name); err == nil && old == logPath {
		return nil
	}
	if err := links.ReplaceLink(logPath, name); err != nil {
		return about(p, "link log of container "+container, err)
	}
	return nil
}

// Unlink removes that link. It is no error if there is none.
func (f *Files) Unlink(_ context.Context, p *v1.Pod, container, id string) error {
	name, err := linkName(p, container, id)
	if err != nil {
		return about(p, "unlink log of container "+container, err)
	}
	links, err := openIfThere(f.links)
	if err != nil || links == nil {
		return err
	}
	defer links.Close()
	return links.Remove(name)
}

// linkName is the link's file name; what would make it too long for a file name is cut off before the ID.
func linkName(p *v1.Pod, container, id string) (string, error) {
	name := names.ContainerLogLink(p.Namespace, p.Name, container, id)
	if tail := "-" + id + ".log"; len(name) > 255 && len(tail) < 255 {
		name = name[:255-len(tail)] + tail
	}
	return name, safepath.Component(name)
}

// RemoveLogs removes the logs of a pod and the links to them. It is no error if there are none.
func (f *Files) RemoveLogs(ctx context.Context, namespace, name string, uid types.UID) error {
	dir, err := logDirName(namespace, name, uid)
	if err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	logs, err := openIfThere(f.logs)
	if err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	if logs != nil {
		defer logs.Close()
		if err := logs.RemoveAll(ctx, dir); err != nil {
			return fmt.Errorf("remove logs: %w", err)
		}
	}
	_, err = f.sweep(ctx, name+"_", func(target string) bool { return strings.HasPrefix(target, filepath.Join(f.logs, dir)+"/") })
	return err
}

// SweepLinks removes the links in /var/log/containers whose logs are gone, and returns how many (behaviour 261). Links
// to elsewhere are left alone.
func (f *Files) SweepLinks(ctx context.Context) (int, error) {
	logs, err := openIfThere(f.logs)
	if err != nil {
		return 0, err
	}
	if logs != nil {
		defer logs.Close()
	}
	return f.sweep(ctx, "", func(target string) bool {
		rel, ok := strings.CutPrefix(target, f.logs+"/")
		if !ok {
			return false
		}
		if logs == nil {
			return true
		}
		_, err := logs.Lstat(rel)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// sweep removes the links whose name begins with prefix and whose target is dead.
func (f *Files) sweep(ctx context.Context, prefix string, dead func(target string) bool) (removed int, err error) {
	links, err := openIfThere(f.links)
	if err != nil || links == nil {
		return 0, err
	}
	defer links.Close()
	found, err := links.ReadDir(".")
	if err != nil {
		return 0, err
	}
	for _, name := range found {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		target, err := links.Readlink(name)
		if err != nil || !dead(target) { // no link, or gone meanwhile
			continue
		}
		if err := links.Remove(name); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// LogDir is a pod's log directory that was found.
type LogDir struct {
	Namespace, Name string
	UID             types.UID
}

// LogDirs lists the pods that have a log directory. Directories of other names are left out.
func (f *Files) LogDirs() ([]LogDir, error) {
	logs, err := openIfThere(f.logs)
	if err != nil || logs == nil {
		return nil, err
	}
	defer logs.Close()
	found, err := logs.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var dirs []LogDir
	for _, name := range found {
		// Neither a namespace nor a pod's name can hold an underscore; a UID could.
		if parts := strings.SplitN(name, "_", 3); len(parts) == 3 && parts[0] != "" && parts[1] != "" && parts[2] != "" {
			dirs = append(dirs, LogDir{Namespace: parts[0], Name: parts[1], UID: types.UID(parts[2])})
		}
	}
	return dirs, nil
}
