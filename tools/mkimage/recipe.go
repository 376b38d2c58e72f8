package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A recipe says what goes into one image. The parts are laid on top of each other in the order of the fields.
type recipe struct {
	// Name is the full reference under which the runtime knows the image.
	Name string `json:"name"`
	// Packages are Debian packages whose files are unpacked, with those of all they depend on.
	Packages []string `json:"packages"`
	// PackagesAlone are unpacked without what they depend on.
	PackagesAlone []string `json:"packagesAlone"`
	// Prune lists globs (path.Match, matched against a path and its parents) that are left out of the packages.
	Prune []string `json:"prune"`
	// Applets is the path of a busybox in the image that gets a link for each of its applets.
	Applets string `json:"applets"`
	// CSource and GoSource are compiled, relative to the recipe, into the static program at Program.
	CSource  string `json:"cSource"`
	GoSource string `json:"goSource"`
	Program  string `json:"program"`
	// Directories are made, with these modes in octal. A directory named rootfs beside the recipe is copied last.
	Directories map[string]string `json:"directories"`
	// Config goes into the image as it is: Entrypoint, Cmd, Env, WorkingDir, StopSignal, User, ...
	Config json.RawMessage `json:"config"`
}

func readRecipe(dir string) (*recipe, error) {
	data, err := os.ReadFile(filepath.Join(dir, "image.json"))
	if err != nil {
		return nil, err
	}
	var r recipe
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("image.json: %w", err)
	}
	if r.Name == "" {
		return nil, fmt.Errorf("image.json: name is missing")
	}
	return &r, nil
}

func (r *recipe) assemble(dir string) (*tree, error) {
	t := newTree()
	for _, p := range []struct {
		names   []string
		closure bool
	}{{r.Packages, true}, {r.PackagesAlone, false}} {
		if len(p.names) == 0 {
			continue
		}
		if err := unpackPackages(t, p.names, p.closure); err != nil {
			return nil, err
		}
	}
	if err := t.prune(r.Prune); err != nil {
		return nil, err
	}
	if r.Applets != "" {
		if err := linkApplets(t, r.Applets); err != nil {
			return nil, err
		}
	}
	if r.Program != "" {
		program, err := r.compile(dir)
		if err != nil {
			return nil, err
		}
		t.file(r.Program, 0o755, program)
	}
	for path, octal := range r.Directories {
		var mode int64
		if _, err := fmt.Sscanf(octal, "%o", &mode); err != nil {
			return nil, fmt.Errorf("directory %s: mode %q is not octal", path, octal)
		}
		t.directory(path, mode)
	}
	return t, copyRootfs(t, filepath.Join(dir, "rootfs"))
}

// compile returns the static program made from the C or Go source.
func (r *recipe) compile(dir string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "mkimage-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "program")
	var cmd *exec.Cmd
	if r.CSource != "" {
		cmd = exec.Command("gcc", "-static", "-Os", "-s", "-Wall", "-Werror", "-Wl,--build-id=none", "-o", out, r.CSource)
	} else {
		cmd = exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", out, r.GoSource)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said)
	}
	return os.ReadFile(out)
}

// linkApplets asks the busybox of the image for its applets, so it must be of this machine's architecture.
func linkApplets(t *tree, path string) error {
	tmp, err := os.MkdirTemp("", "mkimage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	e, ok := t.entries[clean(path)]
	if !ok {
		return fmt.Errorf("applets: no file %s in the image", path)
	}
	busybox := filepath.Join(tmp, "busybox")
	if err := os.WriteFile(busybox, e.data, 0o755); err != nil {
		return err
	}
	list, err := exec.Command(busybox, "--list-full").Output()
	if err != nil {
		return fmt.Errorf("list applets: %w", err)
	}
	for _, applet := range strings.Fields(string(list)) {
		if _, taken := t.entries[t.place(applet)]; !taken {
			t.symlink(applet, "/"+clean(path))
		}
	}
	return nil
}

func copyRootfs(t *tree, dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// Only the executable bit counts: the rest depends on the umask of whoever checked out the files.
		mode := int64(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		t.file(rel, mode, data)
		return nil
	})
	if os.IsNotExist(err) {
		return nil // the image needs no files of its own
	}
	return err
}
