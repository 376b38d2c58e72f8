package controlplane

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Ports are where the control plane listens, all on loopback but the API server's, which Options.BindAddress places.
type Ports struct{ APIServer, Etcd, EtcdPeer, ControllerManager, Scheduler int }

// lowest and highest bound the ports that are picked. They lie below those the kernel gives to outgoing connections: while
// the API server is down, a client that tries its port again and again must not get it for itself.
const lowest, highest = 16000, 19999

// choose fills in ports that are not given, and replaces those that are taken when they may be.
func (ports Ports) choose() (Ports, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for _, port := range []*int{&ports.APIServer, &ports.Etcd, &ports.EtcdPeer, &ports.ControllerManager, &ports.Scheduler} {
		l, err := listen(*port)
		if err != nil {
			return ports, err
		}
		held = append(held, l) // so that no two get the same
		*port = portOf(l)
	}
	return ports, nil
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// listen takes the wanted port of loopback; any other when it is taken or none is wanted.
func listen(wanted int) (net.Listener, error) {
	if wanted != 0 {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted))); err == nil {
			return l, nil
		}
	}
	var last error
	for range 200 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(highest-lowest+1))))
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, fmt.Errorf("find a free port: %w", last)
}

// standInAddress is used on a machine that has no address but loopback's; nobody needs to be there.
const standInAddress = "192.0.2.1"

// OwnAddress is an IPv4 address of this machine that is not loopback's; 192.0.2.1, which may be nowhere, if it has none.
func OwnAddress() string {
	addresses, _ := net.InterfaceAddrs() // none: the stand-in
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return standInAddress
}

// freeServiceCIDR is a range for addresses of Services that collides with no address and no route of this machine.
func freeServiceCIDR() (string, error) {
	var taken []netip.Prefix
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			taken = append(taken, prefix.Masked())
		}
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	taken = append(taken, parseRoutes(string(routes))...)
	for _, wanted := range []string{"10.96.0.0/16", "10.112.0.0/16", "10.251.0.0/16", "172.29.0.0/16", "192.168.240.0/20", "198.18.0.0/16"} {
		prefix := netip.MustParsePrefix(wanted)
		free := true
		for _, t := range taken {
			free = free && !t.Overlaps(prefix)
		}
		if free {
			return wanted, nil
		}
	}
	return "", errors.New("every range for Services that could be used collides with a route of this machine")
}

// parseRoutes reads /proc/net/route; default routes are left out.
func parseRoutes(text string) []netip.Prefix {
	var found []netip.Prefix
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 {
			continue
		}
		to, err := hex.DecodeString(fields[1])
		mask, err2 := hex.DecodeString(fields[7])
		if err != nil || err2 != nil || len(to) != 4 || len(mask) != 4 {
			continue // the heading
		}
		// The kernel writes the number as the machine has it: on all we run on, the first byte last.
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], binary.LittleEndian.Uint32(to))
		bits := 0
		for _, b := range mask {
			for ; b != 0; b &= b - 1 {
				bits++
			}
		}
		if bits > 0 {
			found = append(found, netip.PrefixFrom(netip.AddrFrom4(address), bits))
		}
	}
	return found
}

// AddAddress gives loopback one more address, such as 192.0.2.10, so that a node under test has an InternalIP at which
// the API server finds it. The test must be confined (testbed.Main): the address goes with its network.
func AddAddress(tb testing.TB, address string) {
	tb.Helper()
	out, err := exec.Command("ip", "address", "replace", address+"/32", "dev", "lo").CombinedOutput()
	if err != nil {
		tb.Fatalf("ip address replace %s dev lo: %v: %s", address, err, out)
	}
}
