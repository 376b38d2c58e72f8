package boxruntime

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bosun-project/bosun/internal/golden"
)

func mustConfig(t *testing.T, c Config) Config {
	t.Helper()
	c, err := c.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRenderTOML(t *testing.T) {
	plain := Config{RuntimeDir: "/opt/bosun/bin", Root: "/var/lib/kubelet/runtime"}
	odd := Config{RuntimeDir: `/srv/my "best" bin`, Root: `/srv/back\slash`, RunDir: "/run/x", CNIBinDirs: []string{"/a", "/b"},
		CNIConfDir: "/etc/cni/net.d", SandboxImage: "local/pause:1", Cgroup: "/bosun", LogLevel: "debug"}
	for name, test := range map[string]struct {
		config Config
		facts  facts
	}{
		"plain.toml":    {plain, facts{snapshotter: overlayfs, resourceCap: true, version: version{2, 3}}},
		"confined.toml": {plain, facts{snapshotter: native, version: version{2, 1}}},
		"odd.toml":      {odd, facts{snapshotter: overlayfs, systemd: true, resourceCap: true, version: version{2, 3}}},
	} {
		t.Run(name, func(t *testing.T) { golden.File(t, name, renderTOML(mustConfig(t, test.config), test.facts)) })
	}
}

func TestRenderConflist(t *testing.T) {
	n := network{name: "bosun-1", bridge: "bosun-1", subnet: netip.MustParsePrefix("10.85.0.0/20"), ipamDir: "/r/cni/ipam"}
	tunnel := n
	tunnel.mtu, tunnel.firewall = 1380, true
	for name, n := range map[string]network{"plain.conflist": n, "tunnel.conflist": tunnel} {
		data, err := renderConflist(n)
		if err != nil {
			t.Fatal(err)
		}
		golden.File(t, name, data)
	}
}

func TestConfigRefused(t *testing.T) {
	good := Config{RuntimeDir: "/bin", Root: "/r"}
	for want, change := range map[string]func(*Config){
		`RuntimeDir is "bin"`:                    func(c *Config) { c.RuntimeDir = "bin" },
		`Root is ""`:                             func(c *Config) { c.Root = "" },
		"directories of the runtime's own":       func(c *Config) { c.Root = "/" },
		"without control characters":             func(c *Config) { c.RunDir = "/run/a\nb" },
		"the kernel allows no longer":            func(c *Config) { c.SocketPath = "/" + strings.Repeat("s", 102) },
		"shims' sockets":                         func(c *Config) { c.RunDir = "/" + strings.Repeat("r", 40) },
		"at most 15 characters":                  func(c *Config) { c.Bridge = "a-very-long-name" },
		`bridge is "a/b"`:                        func(c *Config) { c.Bridge = "a/b" },
		"subnet is 10.1.2.3/16":                  func(c *Config) { c.Subnet = netip.MustParsePrefix("10.1.2.3/16") },
		"subnet is fd00::/64":                    func(c *Config) { c.Subnet = netip.MustParsePrefix("fd00::/64") },
		"subnet is 10.0.0.0/30":                  func(c *Config) { c.Subnet = netip.MustParsePrefix("10.0.0.0/30") },
		`want "overlayfs" or "native"`:           func(c *Config) { c.Snapshotter = "btrfs" },
		`CNIBinDirs[1] is "x", want an absolute`: func(c *Config) { c.CNIBinDirs = []string{"/a", "x"} },
	} {
		c := good
		change(&c)
		if _, err := c.withDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	c := mustConfig(t, good)
	other := mustConfig(t, Config{RuntimeDir: "/bin", Root: "/other"})
	if c.Bridge == other.Bridge || c.RunDir == other.RunDir || c.SocketPath == other.SocketPath {
		t.Errorf("two roots share %s, %s or %s", c.Bridge, c.RunDir, c.SocketPath)
	}
}

func TestParseVersion(t *testing.T) {
	for line, want := range map[string]version{
		"containerd github.com/containerd/containerd/v2 v2.3.7 \n":         {2, 3},
		"containerd github.com/containerd/containerd/v2 2.3.7+unknown \n":  {2, 3},
		"containerd containerd.io 1.7.27 05044ec0a9a75232cad458027ca83437": {1, 7},
		"containerd github.com/containerd/containerd/v2 v2.0.0-rc.1 abc":   {2, 0},
	} {
		if v, err := parseVersion(line); err != nil || v != want {
			t.Errorf("parseVersion(%q) = %v, %v; want %v", line, v, err, want)
		}
	}
	if v, err := parseVersion("containerd (devel)"); err == nil {
		t.Errorf("a line without a version gave %v", v)
	}
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestChooseSubnet(t *testing.T) {
	none := netip.Prefix{}
	p := netip.MustParsePrefix
	for name, test := range map[string]struct {
		wanted, remembered netip.Prefix
		taken              []netip.Prefix
		inUse              bool
		want               string
		note, fails        bool
	}{
		"first":                            {taken: prefixes("0.0.0.0/0", "192.168.1.0/24"), want: "10.85.0.0/20"},
		"next to a route":                  {taken: prefixes("10.85.3.0/24", "10.85.16.7/32"), want: "10.85.32.0/20"},
		"next pool":                        {taken: prefixes("10.85.0.0/16"), want: "10.213.0.0/20"},
		"a company owns 10/8":              {taken: prefixes("10.0.0.0/8"), want: "172.29.0.0/20"},
		"everything is taken":              {taken: prefixes("10.0.0.0/8", "172.16.0.0/12"), fails: true},
		"remembered":                       {remembered: p("10.99.0.0/20"), want: "10.99.0.0/20"},
		"remembered, now taken, not used":  {remembered: p("10.99.0.0/20"), taken: prefixes("10.99.4.0/24"), want: "10.85.0.0/20"},
		"remembered, now taken, used":      {remembered: p("10.99.0.0/20"), taken: prefixes("10.99.4.0/24"), inUse: true, want: "10.99.0.0/20", note: true},
		"wanted":                           {wanted: p("10.7.0.0/24"), remembered: p("10.99.0.0/20"), want: "10.7.0.0/24"},
		"wanted, though taken":             {wanted: p("10.7.0.0/24"), taken: prefixes("10.7.0.0/16"), want: "10.7.0.0/24", note: true},
		"wanted, while another is in use":  {wanted: p("10.7.0.0/24"), remembered: p("10.99.0.0/20"), inUse: true, fails: true},
		"wanted, and the same is in use":   {wanted: p("10.7.0.0/24"), remembered: p("10.7.0.0/24"), inUse: true, want: "10.7.0.0/24"},
		"nothing remembered, bridge there": {remembered: none, inUse: true, want: "10.85.0.0/20"},
	} {
		got, note, err := chooseSubnet(test.wanted, test.remembered, test.taken, test.inUse)
		if test.fails {
			if err == nil {
				t.Errorf("%s: got %s, want an error", name, got)
			}
			continue
		}
		if err != nil || got.String() != test.want || (note != "") != test.note {
			t.Errorf("%s: got %s, note %q, error %v; want %s, a note: %t", name, got, note, err, test.want, test.note)
		}
	}
}

func TestRestartDelay(t *testing.T) {
	var got []string
	for failures := range 11 {
		got = append(got, restartDelay(failures).String())
	}
	want := "0s 0s 500ms 1s 2s 4s 8s 16s 30s 30s 30s"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("delays are %s, want %s", s, want)
	}
}

// The log of a machine with two networks, of which bosun-1 left a pod with a host port and a firewall rule.
const savedRules = `# Generated by iptables-save
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:CNI-FORWARD - [0:0]
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -d 10.85.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s 10.85.0.2/32 -j ACCEPT
-A CNI-FORWARD -s 10.88.0.2/32 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:CNI-0123456789abcdef01234567 - [0:0]
:CNI-aaaaaaaaaaaaaaaaaaaaaaaa - [0:0]
:CNI-DN-0123456789abcdef01234 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A POSTROUTING -s 10.85.0.2/32 -m comment --comment "name: \"bosun-1\" id: \"c0ffee\"" -j CNI-0123456789abcdef01234567
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \"podman\" id: \"beef\"" -j CNI-aaaaaaaaaaaaaaaaaaaaaaaa
-A CNI-0123456789abcdef01234567 -d 10.85.0.0/20 -m comment --comment "name: \"bosun-1\" id: \"c0ffee\"" -j ACCEPT
-A CNI-aaaaaaaaaaaaaaaaaaaaaaaa -d 10.88.0.0/16 -m comment --comment "name: \"podman\" id: \"beef\"" -j ACCEPT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"bosun-1\" id: \"c0ffee\"" -m multiport --dports 8080 -j CNI-DN-0123456789abcdef01234
-A CNI-DN-0123456789abcdef01234 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.85.0.2:80
COMMIT
`

func TestLeftoverRules(t *testing.T) {
	subnet := netip.MustParsePrefix("10.85.0.0/20")
	golden.File(t, "leftover.rules", []byte(leftoverRules(savedRules, "bosun-1", subnet)))
	if script := leftoverRules(savedRules, "bosun", netip.MustParsePrefix("10.77.0.0/20")); script != "" {
		t.Errorf("a network without rules gave\n%s", script)
	}
	if script := emptyChains(savedRules); script != "" {
		t.Errorf("shared chains would go while a pod uses them:\n%s", script)
	}
	var unused []string
	for line := range strings.Lines(savedRules) {
		if !strings.HasPrefix(line, "-A CNI-HOSTPORT-DNAT") {
			unused = append(unused, line)
		}
	}
	golden.File(t, "unused.rules", []byte(emptyChains(strings.Join(unused, ""))))
}

func TestTelling(t *testing.T) {
	log := `time="t" level=info msg="starting"
time="t" level=warning msg="Configuration migrated from version 3"
time="t" level=error msg="failed to start" error="bind: address already in use"
containerd: failed to create listener
`
	want := []string{`time="t" level=error msg="failed to start" error="bind: address already in use"`, "containerd: failed to create listener"}
	if diff := cmp.Diff(want, telling(log)); diff != "" {
		t.Error(diff)
	}
	crash := "level=error msg=old\npanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n" + strings.Repeat("\tmore\n", 50)
	if got := telling(crash); len(got) == 0 || got[0] != "panic: boom" || len(got) > tailLines {
		t.Errorf("a panic gave %q", got)
	}
	if got := telling("level=info msg=fine\n"); got != nil {
		t.Errorf("a good log gave %q", got)
	}
}

func TestLogRotatesAtStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	for _, size := range []int{10, maxLog, 7} {
		f, err := openLog(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(int64(size)), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int64{file: 7, file + ".1": maxLog} {
		if info, err := os.Stat(name); err != nil || info.Size() != want {
			t.Errorf("%s: %v, %v; want %d bytes", name, info, err, want)
		}
	}
	if err := os.WriteFile(file, []byte("level=error msg=before\nlevel=error msg=after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := logTail(file, 23); len(got) != 1 || got[0] != "level=error msg=after" {
		t.Errorf("the tail is %q, want only what came after the offset", got)
	}
}

func TestChoicesKept(t *testing.T) {
	c := mustConfig(t, Config{RuntimeDir: "/bin", Root: t.TempDir()})
	if ch, err := readChoices(c); err != nil || ch.Version != choicesVersion {
		t.Errorf("without a file: %+v, %v", ch, err)
	}
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(c.choicesFile(), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sample, err := os.ReadFile("testdata/box-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	write(string(sample))
	want := choices{Version: 1, Bridge: "bosun-0011aabb", Subnet: netip.MustParsePrefix("10.85.0.0/20"), Snapshotter: "overlayfs",
		Containerd: "/opt/bosun/bin/containerd 41234 1764000000000000000", ContainerdVersion: [2]int{2, 3}}
	if ch, err := readChoices(c); err != nil || ch != want {
		t.Errorf("sample of version 1: %+v, %v; want %+v", ch, err, want)
	}
	write("{")
	if ch, err := readChoices(c); err != nil || ch.Subnet.IsValid() {
		t.Errorf("a damaged file: %+v, %v; want to begin anew", ch, err)
	}
	if _, err := os.Stat(c.choicesFile() + ".bad"); err != nil {
		t.Errorf("the damaged file was not put aside: %v", err)
	}
	write(`{"version": 2}`)
	if ch, err := readChoices(c); err == nil {
		t.Errorf("a newer version gave %+v, want an error", ch)
	}
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	c := mustConfig(t, Config{RuntimeDir: dir, Root: filepath.Join(dir, "root")})
	binary, addition := filepath.Join(dir, "containerd"), filepath.Join(c.Root, "config.d", "a.toml")
	put := func(file, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	put(binary, "one")
	seen := map[string]string{}
	look := func(what, toml string, env ...string) {
		t.Helper()
		f, err := fingerprint(c, []byte(toml), env)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := fingerprint(c, []byte(toml), env); again != f {
			t.Errorf("%s: two fingerprints of the same", what)
		}
		if other, ok := seen[f]; ok {
			t.Errorf("%s has the fingerprint of %s", what, other)
		}
		seen[f] = what
	}
	look("first", "a", "PATH=x")
	look("another configuration", "b", "PATH=x")
	look("another environment", "a", "PATH=y")
	look("no environment", "aPATH=x")
	put(binary, "other")
	look("another binary", "a", "PATH=x")
	put(addition, "1")
	look("an addition", "a", "PATH=x")
	put(addition, "2")
	look("another addition", "a", "PATH=x")
}

func TestCheckBinaries(t *testing.T) {
	dir := t.TempDir()
	c := mustConfig(t, Config{RuntimeDir: dir, Root: "/r", CNIBinDirs: []string{dir}})
	err := checkBinaries(c)
	if err == nil || !strings.Contains(err.Error(), "containerd-shim-runc-v2") || !strings.Contains(err.Error(), "--runtime-dir") {
		t.Errorf("an empty directory gave %v", err)
	}
	for _, name := range Programs() {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkBinaries(c); err == nil || !strings.Contains(err.Error(), "host-local") {
		t.Errorf("no plugins gave %v", err)
	}
	c.CNIConfDir = "/etc/cni/net.d" // then the user cares for plugins
	if err := checkBinaries(c); err != nil {
		t.Error(err)
	}
}

func TestAnswersSaysWhy(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for endpoint, want := range map[string]string{
		"tcp://127.0.0.1:1":       "want unix:///PATH",
		"unix://" + dir + "/none": "no such file",
		plain:                     "not a socket",
	} {
		if a, err := Answers(t.Context(), endpoint); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want an error with %q", endpoint, a, err, want)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := FirstAnswer(cancelled, []string{plain, dir + "/none"}); err == nil || !strings.Contains(err.Error(), "none") || !strings.Contains(err.Error(), "plain") {
		t.Errorf("no answer gave %+v, %v; want both reasons", a, err)
	}
}
