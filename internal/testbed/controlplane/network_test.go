package controlplane

import (
	"net/netip"
	"slices"
	"testing"
)

func TestParseRoutes(t *testing.T) {
	const text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
		"br0\t0000600A\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0\n" +
		"cut short\n"
	want := []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("10.96.0.0/20")}
	if got := parseRoutes(text); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPortsAreFreeAndDiffer(t *testing.T) {
	taken, err := listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := portOf(taken)
	got, err := Ports{APIServer: busy}.choose()
	if err != nil {
		t.Fatal(err)
	}
	all := []int{busy, got.APIServer, got.Etcd, got.EtcdPeer, got.ControllerManager, got.Scheduler}
	slices.Sort(all)
	if len(slices.Compact(all)) != 6 {
		t.Errorf("%+v: want five ports, none of them %d", got, busy)
	}
	for _, port := range all {
		if port < lowest || port > highest {
			t.Errorf("port %d is not in %d-%d", port, lowest, highest)
		}
	}
}

func TestDNSLabel(t *testing.T) {
	for name, want := range map[string]string{
		"TestPods":              "testpods",
		"Test_A/b c":            "test-a-b-c",
		"TestVery/long-name-it": "testvery-long",
		"Test12345678/x":        "test12345678",
	} {
		if got := dnsLabel(name, 13); got != want {
			t.Errorf("dnsLabel(%q) = %q, want %q", name, got, want)
		}
	}
}
