package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
)

// unpackPackages lays the files of Debian packages into t. Their maintainer scripts do not run.
func unpackPackages(t *tree, names []string, closure bool) error {
	tmp, err := os.MkdirTemp("", "mkimage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := download(tmp, names, closure); err != nil {
		// The package lists of a fresh machine are often empty or old.
		if update, uerr := exec.Command("apt-get", "update", "-q").CombinedOutput(); uerr != nil {
			return errors.Join(err, fmt.Errorf("apt-get update: %w: %s", uerr, update))
		}
		if err := download(tmp, names, closure); err != nil {
			return err
		}
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	if len(debs) == 0 {
		return fmt.Errorf("apt-get downloaded nothing for %v", names)
	}
	sort.Strings(debs)
	for _, deb := range debs {
		if err := unpack(t, deb); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(deb), err)
		}
	}
	return nil
}

// download puts the packages into dir; with closure, also all they need on an empty system.
func download(dir string, names []string, closure bool) error {
	status := filepath.Join(dir, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		return err
	}
	args := []string{"-q", "-y", "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1",
		// Own state and caches: this must neither see nor disturb what is installed here.
		"-o", "Dir::State::status=" + status, "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
		"-o", "Dir::Cache::archives=" + dir}
	if closure {
		args = append(args, "--no-install-recommends", "--download-only", "install")
	} else {
		args = append(args, "download")
	}
	cmd := exec.Command("apt-get", append(args, names...)...)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download of %v: %w: %s", names, err, said)
	}
	return nil
}

func unpack(t *tree, deb string) error {
	files, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
	if err != nil {
		return err
	}
	tr := tar.NewReader(bytes.NewReader(files))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return err
		}
		t.add(h, data)
	}
}
