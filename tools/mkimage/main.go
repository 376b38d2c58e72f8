package main

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	cache := flag.String("cache", "", "directory that keeps built images for all checkouts of this machine")
	out := flag.String("out", "", "directory for the links to the images")
	flag.Parse()
	if flag.NArg() != 1 || *cache == "" || *out == "" {
		fmt.Fprintln(os.Stderr, "usage: mkimage -cache DIR -out DIR IMAGES")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *cache, *out); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(images, cache, out string) error {
	recipes, err := filepath.Glob(filepath.Join(images, "*", "image.json"))
	if err != nil {
		return err
	}
	if len(recipes) == 0 {
		return fmt.Errorf("no */image.json under %s", images)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, path := range recipes {
		dir := filepath.Dir(path)
		if err := provide(dir, cache, out); err != nil {
			return fmt.Errorf("image %s: %w", filepath.Base(dir), err)
		}
	}
	return nil
}

// provide builds the image of dir unless the cache has it, and links it.
func provide(dir, cache, out string) error {
	sum, err := inputSum(dir)
	if err != nil {
		return err
	}
	name := filepath.Base(dir)
	kept := filepath.Join(cache, "images", name+"-"+sum+".tar")
	if _, err := os.Stat(kept); err != nil {
		fmt.Fprintln(os.Stderr, "building image", name)
		if err := build(dir, kept); err != nil {
			return err
		}
	}
	link := filepath.Join(out, name+".tar")
	if have, err := os.Readlink(link); err == nil && have == kept {
		return nil
	}
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Symlink(kept, link)
}

// build writes the image to path, which appears only when complete.
func build(dir, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	r, err := readRecipe(dir)
	if err != nil {
		return err
	}
	root, err := r.assemble(dir)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already after the rename
	defer f.Close()
	if err := writeLayout(f, r, root); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// inputSum is the hash of the image's own files, of this program, and of the Go version and architecture.
// The versions of Debian packages are not part of it: an image is built once, not at each security update.
func inputSum(dir string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if err := hashFile(h, self); err != nil {
		return "", err
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(h, strings.TrimPrefix(path, dir), info.Mode())
		return hashFile(h, path)
	})
	return hex.EncodeToString(h.Sum(nil))[:12], err
}

func hashFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
