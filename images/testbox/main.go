// Command testbox is the program of the test image: small deeds whose effect a test can see from outside.
//
//	testbox DEED [ARGUMENT...] [then DEED [ARGUMENT...]]...
//
// The deeds are done one after the other; the list is in the variable deeds.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A deed gets its arguments; each has as many as its usage names.
type deed struct {
	usage string
	do    func(args []string) error
}

var deeds = map[string]deed{
	"wait":        {"", func([]string) error { return untilTerm(0) }},
	"linger":      {"DURATION", linger},
	"ignore-term": {"", ignoreTerm},
	"sleep":       {"DURATION", sleep},
	"exit":        {"CODE", exit},
	"crash":       {"", func([]string) error { return syscall.Kill(os.Getpid(), syscall.SIGABRT) }},
	"say":         {"TEXT", func(a []string) error { _, err := fmt.Println(a[0]); return err }},
	"complain":    {"TEXT", func(a []string) error { _, err := fmt.Fprintln(os.Stderr, a[0]); return err }},
	"lines":       {"COUNT", lines},
	"cat":         {"FILE", cat},
	"write":       {"FILE TEXT", func(a []string) error { return os.WriteFile(a[0], []byte(a[1]), 0o644) }},
	"await":       {"FILE", await},
	"append":      {"FILE TEXT", appendTo},
	"stat":        {"FILE", stat},
	"ls":          {"DIRECTORY", list},
	"hold":        {"FILE", hold},
	"alloc":       {"MIB", alloc},
	"huge":        {"MIB", huge},
	"fill":        {"FILE MIB", fill},
	"crowd":       {"COUNT", crowd},
	"child":       {"DEED ARGUMENT", child},
	"env":         {"", env},
	"id":          {"", identity},
	"where":       {"", where},
	"http":        {"ADDRESS", serve},
	"get":         {"URL", get},
}

func main() {
	rest := os.Args[1:]
	for len(rest) > 0 {
		step := rest
		if i := slices.Index(rest, "then"); i >= 0 {
			step, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		if err := do(step); err != nil {
			fmt.Fprintln(os.Stderr, "testbox:", err)
			os.Exit(125)
		}
	}
}

func do(step []string) error {
	if len(step) == 0 {
		return fmt.Errorf("a deed is missing before or after %q", "then")
	}
	d, ok := deeds[step[0]]
	if !ok {
		return fmt.Errorf("no deed %q", step[0])
	}
	if len(step)-1 != len(strings.Fields(d.usage)) {
		return fmt.Errorf("usage: %s %s", step[0], d.usage)
	}
	if err := d.do(step[1:]); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(step, " "), err)
	}
	return nil
}

// untilTerm waits for SIGTERM, says so, and returns after a while.
func untilTerm(after time.Duration) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1)
	fmt.Println("got", <-term)
	time.Sleep(after)
	return nil
}

func linger(a []string) error {
	d, err := time.ParseDuration(a[0])
	if err != nil {
		return err
	}
	return untilTerm(d)
}

// ignoreTerm never ends: only SIGKILL helps.
func ignoreTerm([]string) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	fmt.Println("ignoring TERM")
	for s := range term {
		fmt.Println("ignored", s)
	}
	return nil
}

func sleep(a []string) error {
	d, err := time.ParseDuration(a[0])
	time.Sleep(d)
	return err
}

func exit(a []string) error {
	code, err := strconv.Atoi(a[0])
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

func lines(a []string) error {
	count, err := strconv.Atoi(a[0])
	for i := range count {
		fmt.Println("line", i)
	}
	return err
}

func cat(a []string) error {
	f, err := os.Open(a[0])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(os.Stdout, f)
	return err
}

// await returns when the file exists.
func await(a []string) error {
	for {
		if _, err := os.Stat(a[0]); err == nil || !os.IsNotExist(err) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func appendTo(a []string) error {
	f, err := os.OpenFile(a[0], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, a[1])
	return err
}

func stat(a []string) error {
	info, err := os.Stat(a[0])
	if err != nil {
		return err
	}
	s := info.Sys().(*syscall.Stat_t)
	fmt.Printf("%s mode=%v uid=%d gid=%d size=%d\n", a[0], info.Mode(), s.Uid, s.Gid, s.Size)
	return nil
}

func list(a []string) error {
	entries, err := os.ReadDir(a[0])
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	return err
}

// hold keeps a file open until SIGTERM.
func hold(a []string) error {
	f, err := os.OpenFile(a[0], os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Println("holding", a[0])
	return untilTerm(0)
}

// alloc touches each page of so much memory, and keeps it until SIGTERM.
func alloc(a []string) error {
	mib, err := strconv.Atoi(a[0])
	if err != nil {
		return err
	}
	memory := make([]byte, mib<<20)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	fmt.Println("allocated", mib, "MiB")
	err = untilTerm(0)
	memory[0] = 2 // still in use: the collector may not take it before
	return err
}

// huge touches so much memory in pages of 2 MiB, and keeps it until the end.
func huge(a []string) error {
	mib, err := strconv.Atoi(a[0])
	if err != nil {
		return err
	}
	memory, err := syscall.Mmap(-1, 0, mib<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS|syscall.MAP_HUGETLB)
	if err != nil {
		return err
	}
	for i := 0; i < len(memory); i += 2 << 20 {
		memory[i] = 1
	}
	fmt.Println("touched", mib, "MiB of huge pages")
	return nil
}

// fill writes a file and reads it, so that the kernel holds it in memory as something in use: through a mapping, which counts
// for kernels that keep generations of pages, and twice plainly, which counts for the others.
func fill(a []string) error {
	mib, err := strconv.Atoi(a[1])
	if err != nil {
		return err
	}
	f, err := os.OpenFile(a[0], os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for range mib {
		if _, err := f.Write(chunk); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	const dontNeed = 4 // POSIX_FADV_DONTNEED: what was only written is not what is in use
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		return errno
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, mib<<20, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	sum := byte(0)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		sum += memory[i]
	}
	if err := syscall.Munmap(memory); err != nil || sum != 0 {
		return fmt.Errorf("read %d: %w", sum, err)
	}
	for range 2 {
		for i := range mib {
			if _, err := f.ReadAt(chunk, int64(i)<<20); err != nil {
				return err
			}
		}
	}
	fmt.Println("filled", a[0])
	return nil
}

// crowd makes so many processes that only wait, or as many as it may; then it ends ten of them, for it may need some itself.
func crowd(a []string) error {
	count, err := strconv.Atoi(a[0])
	if err != nil {
		return err
	}
	var pids []int
	var why error
	for range count {
		// A bare fork: an exec would bring several threads with it.
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			why = errno
			break
		}
		if pid == 0 {
			for {
				syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		pids = append(pids, int(pid))
	}
	if why != nil {
		for _, pid := range pids[max(len(pids)-10, 0):] {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return err
			}
			if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
				return err
			}
		}
	}
	fmt.Printf("crowd of %d: %v\n", len(pids), why)
	return nil
}

// child does a deed in a process of its own, and tells how that ended.
func child(a []string) error {
	cmd := exec.Command("/proc/self/exe", a...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	fmt.Println("child ended:", cmd.Run())
	return nil
}

func env([]string) error {
	vars := os.Environ()
	slices.Sort(vars)
	for _, v := range vars {
		fmt.Println(v)
	}
	return nil
}

func identity([]string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	fmt.Printf("uid=%d gid=%d groups=%v pid=%d\n", os.Getuid(), os.Getgid(), groups, os.Getpid())
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp:") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	return nil
}

// where prints what a pod's surroundings decide: host name, directory, hosts file, resolver.
func where([]string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	fmt.Printf("hostname=%s\ncwd=%s\n", host, dir)
	for _, file := range []string{"/etc/hosts", "/etc/resolv.conf"} {
		fmt.Println("#", file)
		if err := cat([]string{file}); err != nil {
			return err
		}
	}
	return nil
}

// serve answers GET / with "ok", and with 500 after a request to /fail until one to /heal. Each request is printed.
// It ends at SIGTERM.
func serve(a []string) error {
	var failing atomic.Bool
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.RequestURI(), r.Host, r.UserAgent())
		switch r.URL.Path {
		case "/fail":
			failing.Store(true)
		case "/heal":
			failing.Store(false)
		default:
			if failing.Load() {
				http.Error(w, "failing", http.StatusInternalServerError)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(a[0], nil) }()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	select {
	case err := <-failed:
		return err
	case <-term:
		return nil
	}
}

func get(a []string) error {
	resp, err := http.Get(a[0])
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
