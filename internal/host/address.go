package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Addresses chooses the node's addresses (behaviour 295): what was given; else the name if it is an address; else what
// the name resolves to, if this machine has that address; else the address that traffic leaves by. IPv4 goes first
// unless "::" was given. It is never an address that others cannot reach, such as loopback. A lone machine without any
// other address gets none, and no error.
func Addresses(ctx context.Context, given []netip.Addr, name string) ([]string, error) {
	return machineNetwork().addresses(ctx, given, name)
}

// network is what is asked about addresses.
type network struct {
	// resolve is what a name stands for, own the addresses of this machine's interfaces.
	resolve func(ctx context.Context, name string) []netip.Addr
	own     func() []netip.Addr
	// leaving is the address that packets to the outside would carry, or the zero one.
	leaving func(v6 bool) netip.Addr
	// inet6 is what the kernel tells of IPv6 addresses, as in /proc/net/if_inet6.
	inet6 func() string
}

func machineNetwork() network {
	return network{
		resolve: func(ctx context.Context, name string) []netip.Addr {
			found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name) // a name that stands for nothing is common
			return found
		},
		own: ownAddresses,
		leaving: func(v6 bool) netip.Addr {
			if v6 {
				return leavingBy("udp6", "[2001:db8::1]:9")
			}
			return leavingBy("udp4", "192.0.2.1:9")
		},
		inet6: func() string {
			text, _ := os.ReadFile("/proc/net/if_inet6") // a kernel without IPv6 has none
			return string(text)
		},
	}
}

func (n network) addresses(ctx context.Context, given []netip.Addr, name string) ([]string, error) {
	if exact := slices.DeleteFunc(slices.Clone(given), netip.Addr.IsUnspecified); len(exact) > 0 {
		return check(exact)
	}
	if a, err := netip.ParseAddr(name); err == nil { // a name such as 127.0.0.1 is no address for others
		if found := usable([]netip.Addr{a}); len(found) > 0 {
			return texts(found), nil
		}
	}
	wantV6 := slices.ContainsFunc(given, netip.Addr.Is6)
	own := n.own()
	found := slices.DeleteFunc(usable(n.resolve(ctx, name)), func(a netip.Addr) bool {
		return !slices.Contains(own, a) // a search domain may make any name somebody's
	})
	byRoute := func(v6 bool) []netip.Addr {
		a := n.leaving(v6)
		if v6 {
			a = n.lasting(a)
		}
		return usable([]netip.Addr{a})
	}
	if len(found) == 0 || len(given) > 0 { // a family that was asked for counts more than where the address comes from
		found = append(found, byRoute(wantV6)...)
		found = append(found, byRoute(!wantV6)...)
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int {
		if a.Is4() == b.Is4() {
			return 0
		}
		if a.Is4() != wantV6 {
			return -1
		}
		return 1
	})
	if len(found) > 1 { // one address, unless two were asked for
		found = found[:1]
	}
	return texts(found), nil
}

func usable(all []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		if a = a.Unmap().WithZone(""); a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !a.IsMulticast() {
			out = append(out, a)
		}
	}
	return out
}

func ownAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, prefix.Addr().Unmap())
		}
	}
	return out
}

// Flags of IPv6 addresses in if_addr.h.
const (
	temporaryAddress = 0x01
	unfitAddress     = temporaryAddress | 0x08 | 0x20 | 0x40 // duplicate, deprecated, tentative
)

// lasting replaces an address that is temporary for privacy (RFC 8981), and will be another one tomorrow, by a lasting
// one of the same interface, if there is any.
func (n network) lasting(a netip.Addr) netip.Addr {
	type line struct {
		addr  netip.Addr
		flags uint64
		name  string
	}
	var all []line
	on := ""
	for text := range strings.Lines(n.inet6()) { // address, index, prefix length, scope, flags, name
		f := strings.Fields(text)
		if len(f) < 6 || f[3] != "00" { // of global scope
			continue
		}
		addr, ok := fromHex(f[0])
		flags, err := strconv.ParseUint(f[4], 16, 32)
		if !ok || err != nil {
			continue
		}
		if addr == a && flags&temporaryAddress != 0 {
			on = f[5]
		}
		all = append(all, line{addr, flags, f[5]})
	}
	for _, l := range all {
		if on != "" && l.name == on && l.flags&unfitAddress == 0 {
			return l.addr
		}
	}
	return a
}

// fromHex reads 32 hexadecimal digits.
func fromHex(digits string) (netip.Addr, bool) {
	var b [16]byte
	if len(digits) != 2*len(b) {
		return netip.Addr{}, false
	}
	for i := range b {
		v, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
		if err != nil {
			return netip.Addr{}, false
		}
		b[i] = byte(v)
	}
	return netip.AddrFrom16(b), true
}

// leavingBy is the local address a datagram to a documentation address would carry. Connecting a datagram socket only
// asks the routing table: nothing is sent.
func leavingBy(network, to string) netip.Addr {
	c, err := net.Dial(network, to)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}

func check(given []netip.Addr) ([]string, error) {
	for _, a := range given {
		if a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() {
			return nil, fmt.Errorf("--node-ip %s cannot be a node's address: it must be a unicast address that other machines can reach", a)
		}
	}
	return texts(given), nil
}

func texts(addresses []netip.Addr) []string {
	out := make([]string, 0, len(addresses))
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}
