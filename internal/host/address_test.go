package host

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parsed(texts string) (all []netip.Addr) {
	for text := range strings.FieldsSeq(texts) {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestAddresses(t *testing.T) { // behaviour 295
	for name, c := range map[string]struct {
		given, name string
		// dns is what the name resolves to; own, beside route, what the machine has; route is what leaves by the default
		// route, one of each family at most.
		dns, own, route string
		inet6           string
		want            string
		wrong           string
	}{
		"295 given":                         {given: "192.0.2.7", want: "192.0.2.7"},
		"295 given for both families":       {given: "2001:db8::7 192.0.2.7", route: "192.0.2.1", want: "2001:db8::7 192.0.2.7"},
		"295 given loopback":                {given: "127.0.0.1", wrong: "--node-ip 127.0.0.1 cannot be"},
		"295 given link-local":              {given: "fe80::1", wrong: "--node-ip fe80::1 cannot be"},
		"295 given multicast":               {given: "224.0.0.1", wrong: "--node-ip 224.0.0.1 cannot be"},
		"295 the name is an address":        {name: "192.0.2.9", dns: "192.0.2.8", own: "192.0.2.8", want: "192.0.2.9"},
		"295 the name is loopback":          {name: "127.0.0.1", route: "192.0.2.1", want: "192.0.2.1"},
		"295 the name resolves":             {dns: "192.0.2.8", own: "192.0.2.8", route: "192.0.2.1", want: "192.0.2.8"},
		"295 it resolves to both, IPv4":     {dns: "2001:db8::8 192.0.2.8", own: "2001:db8::8 192.0.2.8", want: "192.0.2.8"},
		"295 it resolves to IPv6 only":      {dns: "2001:db8::8", own: "2001:db8::8", route: "192.0.2.1", want: "2001:db8::8"},
		"295 as Debian has it in hosts":     {dns: "127.0.1.1", own: "127.0.1.1", route: "192.0.2.1", want: "192.0.2.1"},
		"295 it resolves to somebody else":  {dns: "198.51.100.1", route: "192.0.2.1", want: "192.0.2.1"},
		"295 default route, IPv4":           {route: "2001:db8::1 192.0.2.1", want: "192.0.2.1"},
		"295 default route, IPv6 only":      {route: "2001:db8::1", want: "2001:db8::1"},
		"295 :: and both":                   {given: "::", dns: "192.0.2.8 2001:db8::8", own: "192.0.2.8 2001:db8::8", want: "2001:db8::8"},
		"295 :: and a name of IPv4":         {given: "::", dns: "192.0.2.8", own: "192.0.2.8", route: "2001:db8::1", want: "2001:db8::1"},
		"295 0.0.0.0 and a name of IPv6":    {given: "0.0.0.0", dns: "2001:db8::8", own: "2001:db8::8", route: "192.0.2.1", want: "192.0.2.1"},
		"295 :: and no IPv6":                {given: "::", route: "192.0.2.1", want: "192.0.2.1"},
		"295 nothing but loopback":          {dns: "127.0.0.1 ::1", own: "127.0.0.1 ::1", want: ""},
		"295 routes that lead to loopback":  {route: "127.0.0.1 ::1", want: ""},
		"295 IPv4 written as IPv6":          {dns: "::ffff:192.0.2.8", own: "192.0.2.8", want: "192.0.2.8"},
		"a temporary address of IPv6":       {route: "2001:db8::bad", want: "2001:db8::1", inet6: temporary},
		"a lasting one":                     {route: "2001:db8::2", want: "2001:db8::2", inet6: temporary},
		"a temporary one and no other":      {route: "2001:db8::bad", want: "2001:db8::bad", inet6: strings.ReplaceAll(temporary, " 80     eth0", " 21     eth0")},
		"what the kernel tells is no table": {route: "2001:db8::bad", want: "2001:db8::bad", inet6: "a b c d e f\n" + strings.Repeat("x", 32) + " 1 1 00 01 eth0\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			n := network{
				resolve: func(context.Context, string) []netip.Addr { return parsed(c.dns) },
				own:     func() []netip.Addr { return parsed(c.own + " " + c.route) },
				leaving: func(v6 bool) netip.Addr {
					for _, a := range parsed(c.route) {
						if a.Is6() == v6 {
							return a
						}
					}
					return netip.Addr{}
				},
				inet6: func() string { return c.inet6 },
			}
			got, err := n.addresses(t.Context(), parsed(c.given), c.name)
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("error %v, want %q", err, c.wrong)
			}
		})
	}
}

const temporary = `fe8000000000000000fc00fffe000001 04 40 20 80     eth0
20010db8000000000000000000000099 02 40 00 80     eth1
20010db8000000000000000000000bad 04 40 00 01     eth0
20010db8000000000000000000000dad 04 40 00 a0     eth0
20010db8000000000000000000000001 04 40 00 80     eth0
20010db8000000000000000000000002 04 40 00 80     eth0
`

// TestAddressesOfThisMachine: whatever it has, others can reach it.
func TestAddressesOfThisMachine(t *testing.T) {
	for _, given := range []string{"", "0.0.0.0", "::"} {
		got, err := Addresses(t.Context(), parsed(given), "127.0.0.1") // old tutorials name the node like this
		if err != nil || len(got) > 1 {
			t.Errorf("%v, %v", got, err)
		}
		for _, a := range got {
			if netip.MustParseAddr(a).IsLoopback() {
				t.Errorf("a node address is %s, which others cannot reach", a)
			}
		}
	}
}
