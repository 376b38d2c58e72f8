package integration

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// An emptyDir is shared by the pod's containers, outlives them, and is memory of a size where asked (behaviour 175).
func TestEmptyDir(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "emptydirs", `
spec:
  restartPolicy: Never
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
  initContainers:
  - {name: first, image: BOX, args: [append, /d/log, first, then, append, /m/log, first], volumeMounts: [{name: disk, mountPath: /d}, {name: memory, mountPath: /m}]}
  containers:
  - name: main
    command: [sh, -c, "cat /d/log /m/log; stat -c 'mode %a' /d /m; awk '$2 == \"/m\"' /proc/mounts; awk '$2 == \"/d\"' /proc/mounts; dd if=/dev/zero of=/m/big bs=1M count=20 2>&1"]
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    volumeMounts: [{name: disk, mountPath: /d}, {name: memory, mountPath: /m}]
`)
	b.untilExited("main")
	said := b.untilSays("main", "No space left on device")
	if strings.Count(said, "first\n") != 2 || strings.Count(said, "mode 777\n") != 1 || strings.Count(said, "mode 1777\n") != 1 {
		t.Errorf("want what the init container left, twice, in directories of mode 777 on disk and 1777 in memory:\n%s", said)
	}
	if !strings.Contains(said, "tmpfs /m tmpfs") || !strings.Contains(said, "size=8192k") {
		t.Errorf("want /m to be a tmpfs of 8 MiB:\n%s", said)
	}
}

// hostPath in its types, made where the type says so (behaviour 176).
func TestHostPathTypes(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	dir := n.path(t)
	for name, make := range map[string]func(path string) error{
		"dir":  func(p string) error { return os.Mkdir(p, 0o755) },
		"file": func(p string) error { return os.WriteFile(p, []byte("text\n"), 0o644) },
		"sock": func(p string) error {
			l, err := net.Listen("unix", p)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
		"chr": func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := n.pod(t, "hostpaths", `
spec:
  restartPolicy: Never
  volumes:
  - {name: a, hostPath: {path: `+dir+`/dir, type: Directory}}
  - {name: b, hostPath: {path: `+dir+`/file, type: File}}
  - {name: c, hostPath: {path: `+dir+`/sock, type: Socket}}
  - {name: d, hostPath: {path: `+dir+`/chr, type: CharDevice}}
  - {name: e, hostPath: {path: `+dir+`/new/dir, type: DirectoryOrCreate}}
  - {name: f, hostPath: {path: `+dir+`/newfile, type: FileOrCreate}}
  - {name: g, hostPath: {path: `+dir+`/dir}}
  containers:
  - name: main
    image: docker.io/bosun/testbox:latest
    imagePullPolicy: IfNotPresent
    args: [write, /a/made, x, then, cat, /b, then, stat, /c, then, stat, /d, then, stat, /e, then, stat, /f, then, ls, /g]
    volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b, readOnly: true}, {name: c, mountPath: /c}, {name: d, mountPath: /d},
      {name: e, mountPath: /e}, {name: f, mountPath: /f}, {name: g, mountPath: /g}]
`)
	said := b.untilDone("main")
	for _, want := range []string{"text\n", "/c mode=S", "/d mode=Dc", "/e mode=drwxr-xr-x", "/f mode=-rw-r--r--", "made\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in the output:\n%s", want, said)
		}
	}
	b.remove()
	b.awaitGone()
	if _, err := os.Stat(filepath.Join(dir, "dir", "made")); err != nil {
		t.Errorf("the host's own file went with the pod: %v", err)
	}
}

// A hostPath of another type holds the pod up, with the reason told, until it is mended (behaviours 171, 172, 176).
func TestHostPathOfWrongType(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	path := n.path(t, "late")
	b := n.pod(t, "wrongtype", `
spec:
  volumes: [{name: data, hostPath: {path: `+path+`, type: Directory}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: data, mountPath: /data}]}]
`)
	n.untilLogged(t, "wrongtype-here", "FailedMount", `MountVolume.SetUp failed for volume \"data\"`, "hostPath type check failed", path, "is not a directory")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	b.untilRunning("main")
}

// Part of a volume, made where it is missing, never outside of the volume (behaviour 179).
func TestSubPath(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	dir := n.path(t)
	outside := filepath.Join(dir, "outside")
	inside := filepath.Join(dir, "inside")
	for _, d := range []string{outside, inside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(inside, "escape")); err != nil {
		t.Fatal(err)
	}
	b := n.pod(t, "subpaths", `
spec:
  restartPolicy: Never
  volumes: [{name: empty, emptyDir: {}}, {name: host, hostPath: {path: `+inside+`}}]
  containers:
  - name: main
    image: docker.io/bosun/testbox:latest
    imagePullPolicy: IfNotPresent
    args: [write, /sub/file, one, then, write, /named/file, two, then, write, /host/file, three, then, ls, /all, then, stat, /all/deep/er]
    env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    volumeMounts:
    - {name: empty, mountPath: /all}
    - {name: empty, mountPath: /sub, subPath: deep/er}
    - {name: empty, mountPath: /named, subPathExpr: of-$(POD)}
    - {name: host, mountPath: /host, subPath: part}
`)
	said := b.untilDone("main")
	contains(t, "output", said, "deep", "of-subpaths-here")
	if !strings.Contains(said, "/all/deep/er mode=d") {
		t.Errorf("no directory deep/er:\n%s", said)
	}
	if text, err := os.ReadFile(filepath.Join(inside, "part", "file")); err != nil || string(text) != "three" {
		t.Errorf("part/file of the host holds %q, %v", text, err)
	}

	bad := n.pod(t, "escaping", `
spec:
  volumes: [{name: host, hostPath: {path: `+inside+`}}]
  containers: [{name: main, image: BOX, args: [write, /host/file, four], volumeMounts: [{name: host, mountPath: /host, subPath: escape}]}]
`)
	n.untilLogged(t, "escaping-here", "escape")
	if c, err := bad.instance("main"); err != nil || c != nil {
		t.Errorf("a container with a sub-path outside of its volume: %v %v", c, err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside of the volume: %v %v", left, err)
	}
}

// Mounts of another container or of the host come through as asked (behaviours 84, 85).
func TestMountPropagation(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	dir := n.path(t)
	b := n.pod(t, "propagation", `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: host, hostPath: {path: `+dir+`}}]
  containers:
  - {name: slave, image: BOX, args: [await, /host/go, then, ls, /host/mnt, then, wait], volumeMounts: [{name: host, mountPath: /host, mountPropagation: HostToContainer}]}
  - {name: private, image: BOX, args: [await, /host/go, then, ls, /host/mnt, then, say, end, then, wait], volumeMounts: [{name: host, mountPath: /host}]}
`)
	b.untilRunning("slave")
	b.untilRunning("private")
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mnt, unix.MNT_DETACH) })
	for _, file := range []string{filepath.Join(mnt, "on-the-mount"), filepath.Join(dir, "go")} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.untilSays("slave", "on-the-mount")
	if said := b.untilSays("private", "end"); strings.Contains(said, "on-the-mount") {
		t.Error("a private mount sees what was mounted later")
	}
}
