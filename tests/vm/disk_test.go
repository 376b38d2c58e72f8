package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are those of the machine that `make tools` builds, and images those of `make images`.
var (
	programs = []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "bridge", "host-local", "loopback"}
	images   = []string{"pause", "testbox"}
)

// build makes bosun and the guest's test binary, static: the machine has no libraries but runc's.
func build(ctx context.Context, dir string) error {
	bosun := []string{"build", "-tags", "grpcnotrace", "-o", filepath.Join(dir, "bosun"), "../../cmd/bosun"}
	guest := []string{"test", "-c", "-o", filepath.Join(dir, "guest"), "./guest"}
	for _, args := range [][]string{bosun, guest} {
		cmd := exec.CommandContext(ctx, "go", append([]string{args[0], "-trimpath", "-buildvcs=false", "-ldflags=-s -w"}, args[1:]...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// makeDisk makes the machine's root filesystem from the programs in dir, the tools and the images.
func makeDisk(ctx context.Context, path, dir, cache string) error {
	root := filepath.Join(dir, "root")
	sources := map[string]string{"bin/bosun": filepath.Join(dir, "bosun"), "bin/guest": filepath.Join(dir, "guest")}
	for _, name := range programs {
		sources["bin/"+name] = filepath.Join(cache, "bin", name)
	}
	for _, name := range images {
		sources["images/"+name+".tar"] = filepath.Join(cache, "images", name+".tar")
	}
	libraries, err := librariesOf(ctx, filepath.Join(cache, "bin", "runc"))
	if err != nil {
		return err
	}
	for _, library := range libraries {
		sources[library] = library
	}
	for name, source := range sources {
		if err := copyFile(filepath.Join(root, name), source); err != nil {
			return err
		}
	}
	// A sparse file; no journal, for nobody reads the disk after the machine has ended.
	cmd := exec.CommandContext(ctx, "/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", root, path, "1G")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	return os.RemoveAll(root)
}

// librariesOf asks the loader for the paths of a program's libraries, and of the loader itself.
func librariesOf(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	var paths []string
	for line := range bytes.Lines(out) {
		for field := range strings.FieldsSeq(string(line)) {
			if filepath.IsAbs(field) {
				paths = append(paths, field)
			}
		}
	}
	return paths, nil
}

func copyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("%w; `make tools images` builds what the machine is made of", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
