package podfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/safepath"
)

// The limits of termination messages (behaviour 83), in bytes and lines.
const (
	maxMessage     = 4096
	maxPodMessages = 12288
	maxLogMessage  = 2048
	maxLogLines    = 80
)

// cannotRun is the runtime's reason for a container that never got to write a log.
const cannotRun = "ContainerCannotRun"

// Termination makes the empty file that backs the termination message of one attempt of a container, and returns its
// path. Its name is the attempt in 8 hex digits, so that End finds it without anything being remembered. The files of
// attempts before the last are removed.
func (f *Files) Termination(ctx context.Context, p *v1.Pod, container string, attempt uint32) (string, error) {
	path, err := f.termination(ctx, p, container, attempt)
	if err != nil {
		return "", about(p, "make termination message file of container "+container, err)
	}
	return path, nil
}

func (f *Files) termination(ctx context.Context, p *v1.Pod, container string, attempt uint32) (string, error) {
	if err := safepath.Component(container); err != nil {
		return "", err
	}
	root, err := f.makePod(p.UID)
	if err != nil {
		return "", err
	}
	defer root.Close()
	dir, err := root.MakeSub(filepath.Join("containers", container), podMode)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	if err := removeOlder(ctx, dir, attempt); err != nil {
		return "", err
	}
	name := messageFile(attempt)
	file, err := dir.Create(name, 0o666)
	if errors.Is(err, fs.ErrExist) { // of a creation that failed
		file, err = dir.OpenFile(name, os.O_WRONLY|os.O_TRUNC)
	}
	if err != nil {
		return "", err
	}
	return dir.Join(name), file.Close()
}

func messageFile(attempt uint32) string { return fmt.Sprintf("%08x", attempt) }

// removeOlder removes the files of attempts before the last one, which can still be asked for.
func removeOlder(ctx context.Context, dir *safepath.Root, attempt uint32) error {
	found, err := dir.ReadDir(".")
	if err != nil {
		return err
	}
	for _, name := range found {
		if n, err := strconv.ParseUint(name, 16, 32); err == nil && name == messageFile(uint32(n)) && n+1 < uint64(attempt) {
			if err := dir.RemoveAll(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// End reads the termination message of an ended container: what it wrote to its file, or, if it wrote nothing, failed,
// and its policy allows, the end of its log (behaviours 82, 83). There may be none.
func (f *Files) End(_ context.Context, p *v1.Pod, c *v1.Container, ended pod.Container) (string, error) {
	limit := messageLimit(p)
	text, err := f.message(p, c.Name, ended.Attempt, limit)
	if err != nil {
		return "", about(p, "read termination message of container "+c.Name, err)
	}
	if text != "" || c.TerminationMessagePolicy != v1.TerminationMessageFallbackToLogsOnError || ended.ExitCode == 0 || ended.Reason == cannotRun {
		return text, nil
	}
	text, err = f.logEnd(ended.LogPath, min(limit, maxLogMessage))
	if err != nil {
		return "", about(p, "read end of log of container "+c.Name, err)
	}
	return text, nil
}

// messageLimit is the share of one container in what the messages of a pod may hold.
func messageLimit(p *v1.Pod) int {
	n := len(p.Spec.Containers) + len(p.Spec.InitContainers)
	return min(maxMessage, maxPodMessages/max(n, 1))
}

// message reads the end of the file, at most limit bytes. A container that an upstream kubelet made has a file of a
// random name: then the newest is meant.
func (f *Files) message(p *v1.Pod, container string, attempt uint32, limit int) (string, error) {
	for _, part := range []string{string(p.UID), container} {
		if err := safepath.Component(part); err != nil {
			return "", err
		}
	}
	root, err := openIfThere(f.root)
	if err != nil || root == nil {
		return "", err
	}
	defer root.Close()
	dir, err := root.Sub(filepath.Join("pods", string(p.UID), "containers", container))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer dir.Close()
	file, err := dir.OpenFile(messageFile(attempt), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		name, err := newest(dir)
		if err != nil || name == "" {
			return "", err
		}
		if file, err = dir.OpenFile(name, os.O_RDONLY); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	defer file.Close()
	data, _, err := readTail(file, int64(limit))
	return printable(data), err
}

// newest is the file that was written last, among those that are not named for an attempt of ours: their names begin
// with zeros.
func newest(dir *safepath.Root) (string, error) {
	found, err := dir.ReadDir(".")
	if err != nil {
		return "", err
	}
	name, at := "", int64(0)
	for _, n := range found {
		if _, err := strconv.ParseUint(n, 16, 32); err != nil || strings.HasPrefix(n, "0000") {
			continue
		}
		info, err := dir.Lstat(n)
		if err == nil && info.Mode().IsRegular() && (name == "" || info.ModTime().UnixNano() > at) {
			name, at = n, info.ModTime().UnixNano()
		}
	}
	return name, nil
}

// readTail reads at most the last n bytes of a file; whole tells whether that is all of it.
func readTail(file *os.File, n int64) (data []byte, whole bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	from := max(0, info.Size()-n)
	data = make([]byte, info.Size()-from)
	got, err := file.ReadAt(data, from)
	if err == io.EOF { // it became shorter meanwhile
		err = nil
	}
	return data[:got], from == 0, err
}

// printable makes text of bytes that may be cut in the middle of a character.
func printable(data []byte) string { return strings.ToValidUTF8(string(data), "?") }
