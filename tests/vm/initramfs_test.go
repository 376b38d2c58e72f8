package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// An initramfs is a cpio archive in the format that the kernel calls newc.
type initramfs struct {
	bytes.Buffer
	inode int
}

// What cpio calls the kinds of files.
const (
	directory = 0o040000
	device    = 0o020000
	regular   = 0o100000
)

// add adds one file; major and minor are those of a device.
func (a *initramfs) add(name string, mode, major, minor int, data []byte) {
	a.inode++
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *initramfs) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

// writeInitramfs makes the archive: init, the modules, and the console that init speaks on.
func writeInitramfs(path, init, kernel string) error {
	var a initramfs
	for _, dir := range []string{"dev", "proc", "sys", "disk", "modules"} {
		a.add(dir, directory|0o755, 0, 0, nil)
	}
	a.add("dev/console", device|0o600, 5, 1, nil)
	program, err := os.ReadFile(init)
	if err != nil {
		return err
	}
	a.add("init", regular|0o755, 0, 0, program)
	modules, err := filepath.Glob(filepath.Join(kernel, "*.ko"))
	if err != nil {
		return err
	}
	for _, module := range modules {
		data, err := os.ReadFile(module)
		if err != nil {
			return err
		}
		a.add("modules/"+filepath.Base(module), regular|0o644, 0, 0, data)
	}
	a.add("TRAILER!!!", 0, 0, 0, nil)
	return os.WriteFile(path, a.Bytes(), 0o644)
}
