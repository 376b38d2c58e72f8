package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Addresses chooses the node's addresses (behaviour 295): what was given; else the name if it is an address; else what
// the name resolves to; else the address of the interface that the default route leaves by. IPv4 goes first unless
// "::" was given. A lone machine without any other address gets none, and no error.
func Addresses(ctx context.Context, given []netip.Addr, name string) ([]string, error) {
	wantV6 := slices.ContainsFunc(given, func(a netip.Addr) bool { return a.IsUnspecified() && a.Is6() })
	if exact := slices.DeleteFunc(slices.Clone(given), netip.Addr.IsUnspecified); len(exact) > 0 {
		return check(exact)
	}
	if a, err := netip.ParseAddr(name); err == nil { // a name such as 127.0.0.1 is no address for others
		if found := usable([]netip.Addr{a}); len(found) > 0 {
			return texts(found), nil
		}
	}
	var found []netip.Addr
	if resolved, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name); err == nil {
		found = usable(resolved)
	}
	if len(found) == 0 {
		found = usable([]netip.Addr{leavingBy("udp4", "192.0.2.1:9"), leavingBy("udp6", "[2001:db8::1]:9")})
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
		if a = a.Unmap(); a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !a.IsMulticast() {
			out = append(out, a)
		}
	}
	return out
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
