package translate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
)

func TestDNS(t *testing.T) {
	many := func(n int, format string) []string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return out
	}
	const cluster = "shop.svc.cluster.local svc.cluster.local cluster.local"
	for _, c := range []struct {
		name, spec                 string
		change                     func(*translate.Node)
		servers, searches, options string
		remarks                    []translate.Remark
	}{
		{name: "76 ClusterFirst", servers: "10.96.0.10", searches: cluster + " example.com", options: "ndots:5"},
		{name: "76 no cluster domain", change: func(n *translate.Node) { n.ClusterDomain = "" }, servers: "10.96.0.10", searches: "example.com", options: "ndots:5"},
		{name: "76 host searches already there", change: func(n *translate.Node) { n.HostResolv.Searches = []string{"cluster.local", "x"} },
			servers: "10.96.0.10", searches: cluster + " x", options: "ndots:5"},
		{name: "76 no host resolver", change: func(n *translate.Node) { n.NoHostResolv = true }, servers: "10.96.0.10", searches: cluster, options: "ndots:5"},
		{name: "77 Default", spec: "dnsPolicy: Default", servers: "192.0.2.53", searches: "example.com", options: "edns0 ndots:2"},
		{name: "77 ClusterFirst in the node's network, 369", spec: "hostNetwork: true", servers: "192.0.2.53", searches: "example.com", options: "edns0 ndots:2"},
		{name: "77 ClusterFirstWithHostNet", spec: "hostNetwork: true\ndnsPolicy: ClusterFirstWithHostNet", servers: "10.96.0.10", searches: cluster + " example.com", options: "ndots:5"},
		{name: "77 None", spec: "dnsPolicy: None\ndnsConfig: {nameservers: [1.1.1.1], searches: [a], options: [{name: debug}]}", servers: "1.1.1.1", searches: "a", options: "debug"},
		{name: "78 added, each once", spec: "dnsConfig: {nameservers: [1.1.1.1, 10.96.0.10], searches: [svc.cluster.local, mine]}",
			servers: "10.96.0.10 1.1.1.1", searches: cluster + " example.com mine", options: "ndots:5"},
		{name: "78 options by name", spec: "dnsPolicy: Default\ndnsConfig: {options: [{name: ndots, value: \"7\"}, {name: edns0}, {name: timeout, value: \"1\"}]}",
			servers: "192.0.2.53", searches: "example.com", options: "edns0 ndots:7 timeout:1"},
		{name: "79 three servers", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.HostResolv.Servers = []string{"a", "b", "a", "c", "d"} },
			servers: "a b c", searches: "example.com", options: "edns0 ndots:2", remarks: []translate.Remark{{Reason: reason.DNSConfigForming,
				Message: "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: a b c"}}},
		{name: "79 32 search domains", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.HostResolv.Searches = many(33, "d%d") },
			servers: "192.0.2.53", searches: strings.Join(many(32, "d%d"), " "), options: "edns0 ndots:2", remarks: []translate.Remark{{Reason: reason.DNSConfigForming,
				Message: "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(many(32, "d%d"), " ")}}},
		{name: "79 exactly 32 search domains", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.HostResolv.Searches = many(32, "d%d") },
			servers: "192.0.2.53", searches: strings.Join(many(32, "d%d"), " "), options: "edns0 ndots:2"},
		{name: "79 2048 characters", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.HostResolv.Searches = many(20, strings.Repeat("x", 126)+"%02d") },
			servers: "192.0.2.53", searches: strings.Join(many(15, strings.Repeat("x", 126)+"%02d"), " "), options: "edns0 ndots:2",
			remarks: []translate.Remark{{Reason: reason.DNSConfigForming,
				Message: "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(many(15, strings.Repeat("x", 126)+"%02d"), " ")}}},
		{name: "79 a domain longer than any can be", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.HostResolv.Searches = []string{strings.Repeat("x", 254), "ok"} },
			servers: "192.0.2.53", searches: "ok", options: "edns0 ndots:2", remarks: []translate.Remark{{Reason: reason.DNSConfigForming,
				Message: "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ok"}}},
		{name: "79 no cluster DNS", change: func(n *translate.Node) { n.ClusterDNS = nil }, servers: "192.0.2.53", searches: "example.com", options: "edns0 ndots:2",
			remarks: []translate.Remark{{Reason: reason.MissingClusterDNS,
				Message: `pod: "web_shop(u-1)". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.`}}},
		{name: "79 no cluster at all", change: func(n *translate.Node) { n.ClusterDNS, n.Standalone = nil, true }, servers: "192.0.2.53", searches: "example.com", options: "edns0 ndots:2"},
		{name: "80 no host resolver", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.NoHostResolv = true }, servers: "127.0.0.1", searches: "."},
		{name: "80 no host resolver on an IPv6 node", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.NoHostResolv, n.HostIPs = true, []string{"2001:db8::1"} },
			servers: "::1", searches: "."},
		{name: "80 no host resolver, address unknown", spec: "dnsPolicy: Default", change: func(n *translate.Node) { n.NoHostResolv, n.HostIPs = true, nil },
			servers: "127.0.0.1", searches: "."},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := node()
			if c.change != nil {
				c.change(n)
			}
			got, remarks, err := translate.DNS(parse(t, c.spec), n)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%s | %s | %s", c.servers, c.searches, c.options)
			have := fmt.Sprintf("%s | %s | %s", strings.Join(got.Servers, " "), strings.Join(got.Searches, " "), strings.Join(got.Options, " "))
			if d := cmp.Diff(want, have); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if d := cmp.Diff(c.remarks, remarks); d != "" {
				t.Errorf("remarks: -want +got\n%s", d)
			}
		})
	}
}

func TestParseResolvConf(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     translate.ResolvConf
		err      string
	}{
		{"77 usual", "# made by dhcp\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions edns0 ndots:2\n",
			translate.ResolvConf{Servers: []string{"192.0.2.53", "fe80::1%eth0"}, Searches: []string{"a.example", "b.example"}, Options: []string{"edns0", "ndots:2"}}, ""},
		{"77 last search line holds", "search a\nsearch b c\n", translate.ResolvConf{Searches: []string{"b", "c"}}, ""},
		{"77 options add up, later value holds", "options ndots:1 rotate\noptions ndots:3\n", translate.ResolvConf{Options: []string{"ndots:3", "rotate"}}, ""},
		{"77 trailing dots", "search a.example. . b\n", translate.ResolvConf{Searches: []string{"a.example", ".", "b"}}, ""},
		{"77 comments, tabs, CRLF, no end of line", "; x\r\n\tnameserver\t1.1.1.1 # mine\r\nsearch a", translate.ResolvConf{Servers: []string{"1.1.1.1"}, Searches: []string{"a"}}, ""},
		{"77 unknown words", "sortlist 1.2.3.4\ndomain x\nnameservers 1.1.1.1\n", translate.ResolvConf{}, ""},
		{"77 empty", "", translate.ResolvConf{}, ""},
		{"77 the rest is used", "nameserver\nnameserver 1.1.1.1\n", translate.ResolvConf{Servers: []string{"1.1.1.1"}}, "line 1: nameserver lacks its address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := translate.ParseResolvConf([]byte(c.in))
			if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func FuzzParseResolvConf(f *testing.F) {
	for _, s := range []string{"", "nameserver 1.1.1.1\nsearch a b.\noptions ndots:5 x", "nameserver", "search . ..", "options a: a:b :c", "# x\n;y\r\n\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, _ := translate.ParseResolvConf(in)
		seen := map[string]bool{}
		for _, o := range got.Options {
			name, _, _ := strings.Cut(o, ":")
			if seen[name] {
				t.Errorf("option %q is there twice: %q", name, got.Options)
			}
			seen[name] = true
		}
		text := ""
		for _, s := range got.Servers {
			text += "nameserver " + s + "\n"
		}
		if len(got.Searches) > 0 {
			text += "search " + strings.Join(got.Searches, " ") + "\n"
		}
		if len(got.Options) > 0 {
			text += "options " + strings.Join(got.Options, " ") + "\n"
		}
		again, err := translate.ParseResolvConf([]byte(text))
		if err != nil {
			t.Fatalf("%q written down cannot be read: %v", text, err)
		}
		// A domain may lose one trailing dot at each reading.
		if d := cmp.Diff(got.Servers, again.Servers); d != "" || len(again.Options) != len(got.Options) {
			t.Errorf("read again as %+v\n%s", again, d)
		}
	})
}
