package boxruntime

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// network is what decides the CNI configuration.
type network struct {
	name, bridge string
	subnet       netip.Prefix
	ipamDir      string
	// mtu of the bridge; 0 is the kernel's default.
	mtu int
	// firewall adds rules that let pods through where the host drops forwarded packets, as it does where Docker runs.
	firewall bool
}

// renderConflist gives the network's CNI configuration: a bridge whose addresses pods get from host-local, masquerading for
// what leaves it, and host ports. containerd adds the loopback interface by itself.
func renderConflist(n network) ([]byte, error) {
	type object map[string]any
	bridge := object{
		"type": "bridge", "bridge": n.bridge, "ipMasq": true,
		// Gives pods their default route: so none is named below.
		"isDefaultGateway": true,
		// A pod must reach itself through a host port of its own.
		"hairpinMode": true,
		"ipam": object{
			"type": "host-local", "dataDir": n.ipamDir,
			"ranges": [][]object{{{"subnet": n.subnet.String()}}},
		},
	}
	if n.mtu != 0 {
		bridge["mtu"] = n.mtu
	}
	plugins := []object{bridge, {"type": "portmap", "capabilities": object{"portMappings": true}, "snat": true}}
	if n.firewall {
		plugins = append(plugins, object{"type": "firewall"})
	}
	data, err := json.MarshalIndent(object{"cniVersion": "1.0.0", "name": n.name, "plugins": plugins}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render the pod network: %w", err)
	}
	return append(data, '\n'), nil
}

// subnetBits is the size of a subnet we pick: 4093 pods.
const subnetBits = 20

// pickSubnet returns the first candidate that overlaps none of taken. Candidates avoid what clusters, Docker, podman and
// home routers commonly use; then come the rest of 10/8 and 172.16/12.
func pickSubnet(taken []netip.Prefix) (netip.Prefix, error) {
	for _, pool := range []string{"10.85.0.0/16", "10.213.0.0/16", "172.29.0.0/16", "172.16.0.0/12", "10.0.0.0/8"} {
		for p := range subnets(netip.MustParsePrefix(pool), subnetBits) {
			if overlapping(p, taken) == (netip.Prefix{}) {
				return p, nil
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("no free subnet for pods: the host's routes cover 10.0.0.0/8 and 172.16.0.0/12; name one yourself")
}

// subnets yields the networks of the given size in pool, in order.
func subnets(pool netip.Prefix, bits int) func(yield func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		base := pool.Addr().As4()
		start := uint32(base[0])<<24 | uint32(base[1])<<16
		for i := range uint32(1) << (bits - pool.Bits()) {
			a := start + i<<(32-bits)
			addr := netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
			if !yield(netip.PrefixFrom(addr, bits)) {
				return
			}
		}
	}
}

// overlapping returns the first of taken that overlaps p. A default route overlaps nothing.
func overlapping(p netip.Prefix, taken []netip.Prefix) netip.Prefix {
	for _, t := range taken {
		if t.Bits() > 0 && t.Overlaps(p) {
			return t
		}
	}
	return netip.Prefix{}
}
