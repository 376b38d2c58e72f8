package boxruntime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Loader imports image archives into a containerd, ours or another.
type Loader struct {
	// RuntimeDir holds ctr.
	RuntimeDir string
	// Endpoint is containerd's: "unix:///path" or a path.
	Endpoint string
	// Snapshotter is the one that containerd's CRI uses. Default overlayfs.
	Snapshotter string
	// Record is a file that remembers what was loaded from where. Default: nothing is remembered, all is loaded again.
	Record string
	// Log gets a line for each archive that is loaded. Default: no log.
	Log *slog.Logger
}

// Loaded says what happened to one archive.
type Loaded struct {
	File string
	// Names are the images in it.
	Names []string
	// Already is true when containerd had them from this very file.
	Already bool
	Took    time.Duration
}

// LoadImages imports every image archive in dir into this runtime. See Loader.Load.
func (b *Box) LoadImages(ctx context.Context, dir string) ([]Loaded, error) {
	l := Loader{RuntimeDir: b.cfg.RuntimeDir, Endpoint: b.Endpoint(), Snapshotter: b.snapshotter, Record: b.cfg.imagesFile(), Log: b.cfg.Log}
	return l.Load(ctx, dir)
}

// A stamp tells one state of a file from another.
type stamp struct {
	Size     int64    `json:"size"`
	Modified int64    `json:"modified"` // nanoseconds
	Inode    uint64   `json:"inode"`
	Names    []string `json:"names"`
}

// Load imports every *.tar, *.tar.gz and *.tgz in dir, as `docker save` and OCI tools write them, so that pods find the
// images without a registry. The images are pinned: garbage collection leaves them. Archives that were loaded before and
// did not change are passed over while containerd still has their images. When Load returns, CRI knows the images. A bad
// archive does not keep the others from being loaded; the error names each.
func (l Loader) Load(ctx context.Context, dir string) ([]Loaded, error) {
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	socket, err := l.check(ctx)
	if err != nil {
		return nil, fmt.Errorf("load images from %s: %w", dir, err)
	}
	files, err := archives(dir)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	conn, err := connect(socket)
	if err != nil {
		return nil, fmt.Errorf("load images from %s: %w", dir, err)
	}
	defer func() { _ = conn.Close() }()
	load := &loading{Loader: l, socket: socket, images: cri.NewImageServiceClient(conn), record: readStamps(l.Record)}

	done := make([]Loaded, len(files))
	errs := make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(4)
	for i, file := range files {
		group.Go(func() error {
			begin := time.Now()
			done[i], errs[i] = load.one(ctx, file)
			done[i].Took = time.Since(begin)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("load images from %s: %w", file, errs[i])
			}
			return nil
		})
	}
	_ = group.Wait()
	errs = append(errs, load.save())
	done = slices.DeleteFunc(done, func(d Loaded) bool { return d.File == "" })
	return done, errors.Join(errs...)
}

// check says whether there is a containerd to load into, and the program to do it.
func (l Loader) check(ctx context.Context) (socket string, err error) {
	answer, err := Answers(ctx, l.Endpoint)
	if err != nil {
		return "", err
	}
	if answer.Name != "containerd" {
		return "", fmt.Errorf("the runtime at %s is %s; archives can only be loaded into containerd: load them with %s's own tools", l.Endpoint, answer.Name, answer.Name)
	}
	if ctr := l.ctr(); !executable(ctr) {
		return "", fmt.Errorf("no program %s: build it with `make tools`, or name a directory that has it with --runtime-dir", ctr)
	}
	return socketPath(l.Endpoint)
}

func (l Loader) ctr() string { return filepath.Join(l.RuntimeDir, "ctr") }

// archives lists image archives in dir, sorted.
func archives(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")) {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, nil
}

// loading is one run of Load.
type loading struct {
	Loader
	socket string
	images cri.ImageServiceClient

	mu     sync.Mutex
	record map[string]stamp
}

// one loads one archive, unless its images are there.
func (l *loading) one(ctx context.Context, file string) (Loaded, error) {
	real, now, err := stampOf(file)
	if err != nil {
		return Loaded{}, err
	}
	l.mu.Lock()
	before := l.record[real]
	l.mu.Unlock()
	if before.Size == now.Size && before.Modified == now.Modified && before.Inode == now.Inode && l.has(ctx, before.Names) {
		return Loaded{File: file, Names: before.Names, Already: true}, nil
	}
	held, err := listArchive(real)
	if err != nil {
		return Loaded{}, err
	}
	base := ""
	names := held.names
	if len(names) == 0 {
		if base, names, err = nameByFile(file, held.tags); err != nil {
			return Loaded{}, err
		}
	}
	if err := l.run(ctx, real, base); err != nil {
		return Loaded{}, err
	}
	if err := l.settled(ctx, names); err != nil {
		return Loaded{}, err
	}
	now.Names = names
	l.mu.Lock()
	l.record[real] = now
	l.mu.Unlock()
	l.Log.Info("loaded images", "file", file, "images", names)
	return Loaded{File: file, Names: names}, nil
}

// stampOf resolves links: an archive in a cache may be linked to from many places.
func stampOf(file string) (real string, s stamp, err error) {
	if real, err = filepath.EvalSymlinks(file); err != nil {
		return "", stamp{}, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return "", stamp{}, errors.New("this is not a regular file")
	}
	return real, stamp{Size: info.Size(), Modified: info.ModTime().UnixNano(), Inode: inodeOf(info)}, nil
}

func listArchive(file string) (contents, error) {
	f, err := os.Open(file)
	if err != nil {
		return contents{}, err
	}
	defer func() { _ = f.Close() }()
	return readArchive(f)
}

// nameByFile names images that have only a tag after the file they are in: nginx.tar with the tag 1.27 is nginx:1.27.
func nameByFile(file string, tags []string) (base string, names []string, err error) {
	stem := strings.ToLower(filepath.Base(file))
	for _, ending := range []string{".tgz", ".gz", ".tar"} {
		stem = strings.TrimSuffix(stem, ending)
	}
	if len(tags) == 0 {
		return "", nil, errors.New("its images have no name, so no pod could ask for them: save it again with a name, as in `docker save NAME:TAG -o FILE`")
	}
	for _, tag := range tags {
		name, err := fullName(stem + ":" + tag)
		if err != nil {
			return "", nil, fmt.Errorf("its images have only tags, and the file's name does not make a name for them: %w", err)
		}
		names = append(names, name)
		base = strings.TrimSuffix(name, ":"+tag)
	}
	return base, names, nil
}

// run imports one archive with ctr.
func (l *loading) run(ctx context.Context, file, base string) error {
	args := []string{"--address", l.socket, "--namespace", "k8s.io", "images", "import", "--label", "io.cri-containerd.pinned=pinned"}
	if base != "" {
		args = append(args, "--base-name", base)
	}
	if l.Snapshotter != "" && l.Snapshotter != overlayfs {
		// containerd's own import unpacks for its default snapshotter only; the client can do it for any.
		args = append(args, "--local", "--snapshotter", l.Snapshotter)
	}
	cmd := exec.CommandContext(ctx, l.ctr(), append(args, file)...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		lines := clip(strings.Split(strings.TrimSpace(string(out)), "\n"))
		return fmt.Errorf("import with %s: %w: %s", l.ctr(), err, strings.Join(lines[max(0, len(lines)-3):], "; "))
	}
	return nil
}

// has says whether CRI knows all these images.
func (l *loading) has(ctx context.Context, names []string) bool {
	for _, name := range names {
		answer, err := l.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
		if err != nil || answer.GetImage() == nil {
			return false
		}
	}
	return len(names) > 0
}

// settled waits until CRI knows the images. CRI learns of them from containerd's events a few milliseconds after the
// import and tells nobody, so this asks again, at growing intervals; it is not on the way of any pod.
func (l *loading) settled(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for pause := 2 * time.Millisecond; !l.has(ctx, names); pause *= 2 {
		wait := time.NewTimer(min(pause, time.Second))
		select {
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("imported %s, but the runtime does not list it: %w", strings.Join(names, ", "), ctx.Err())
		case <-wait.C:
		}
	}
	return nil
}

const settleTimeout = 20 * time.Second

// readStamps reads the record. A missing or damaged one only means that archives are loaded again.
func readStamps(file string) map[string]stamp {
	stamps := map[string]stamp{}
	if file == "" {
		return stamps
	}
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &stamps) != nil || stamps == nil {
		return map[string]stamp{}
	}
	return stamps
}

// save writes the record, without the files that are gone.
func (l *loading) save() error {
	if l.Record == "" {
		return nil
	}
	for file := range l.record {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			delete(l.record, file)
		}
	}
	data, err := json.MarshalIndent(l.record, "", "  ")
	if err != nil {
		return fmt.Errorf("remember the loaded images: %w", err)
	}
	return writeFile(l.Record, append(data, '\n'), 0o600)
}
