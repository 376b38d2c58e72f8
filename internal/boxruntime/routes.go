package boxruntime

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostRoutes is what the host already sends somewhere: all IPv4 routes but those of the named interface, and the name
// servers. mtu is that of the interface of the default route, 0 when there is none.
func hostRoutes(except string) (taken []netip.Prefix, mtu int, err error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETROUTE, unix.AF_INET)
	if err != nil {
		return nil, 0, fmt.Errorf("read the host's routes: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, 0, fmt.Errorf("read the host's routes: %w", err)
	}
	own := -1
	if link, err := net.InterfaceByName(except); err == nil {
		own = link.Index
	}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil, 0, fmt.Errorf("read the host's routes: %w", err)
		}
		destination, link := routeOf(m, attributes)
		switch {
		case link == own:
		case destination.Bits() > 0:
			taken = append(taken, destination)
		default:
			if l, err := net.InterfaceByIndex(link); err == nil {
				mtu = l.MTU
			}
		}
	}
	return append(taken, nameservers("/etc/resolv.conf")...), mtu, nil
}

// routeOf reads one route: where it goes, and the index of its interface.
func routeOf(m syscall.NetlinkMessage, attributes []syscall.NetlinkRouteAttr) (netip.Prefix, int) {
	destination := netip.IPv4Unspecified()
	link := 0
	for _, a := range attributes {
		switch a.Attr.Type {
		case unix.RTA_DST:
			if addr, ok := netip.AddrFromSlice(a.Value); ok {
				destination = addr
			}
		case unix.RTA_OIF:
			link = intOf(a.Value)
		}
	}
	bits := int((*unix.RtMsg)(unsafe.Pointer(&m.Data[0])).Dst_len)
	return netip.PrefixFrom(destination, bits), link
}

// nameservers are the IPv4 addresses in a resolv.conf, which may be reached through the default route only.
func nameservers(file string) []netip.Prefix {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var found []netip.Prefix
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil && addr.Is4() {
			found = append(found, netip.PrefixFrom(addr, 32))
		}
	}
	return found
}

// A link is a network interface, as the kernel tells of it by netlink. /sys/class/net is no substitute: it shows the
// interfaces of whoever mounted it.
type link struct {
	index, master int
	name, kind    string // kind is "bridge", "veth", …; "" for hardware
}

func links() ([]link, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var found []link
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil, fmt.Errorf("list network interfaces: %w", err)
		}
		l := link{index: int((*unix.IfInfomsg)(unsafe.Pointer(&m.Data[0])).Index)}
		for _, a := range attributes {
			switch a.Attr.Type {
			case unix.IFLA_IFNAME:
				l.name = unix.ByteSliceToString(a.Value)
			case unix.IFLA_MASTER:
				l.master = intOf(a.Value)
			case unix.IFLA_LINKINFO:
				l.kind = kindOf(a.Value)
			}
		}
		found = append(found, l)
	}
	return found, nil
}

// kindOf reads IFLA_INFO_KIND, the first attribute inside IFLA_LINKINFO.
func kindOf(info []byte) string {
	if len(info) < unix.SizeofRtAttr {
		return ""
	}
	head := (*unix.RtAttr)(unsafe.Pointer(&info[0]))
	if head.Type != unix.IFLA_INFO_KIND || int(head.Len) > len(info) || head.Len < unix.SizeofRtAttr {
		return ""
	}
	return unix.ByteSliceToString(info[unix.SizeofRtAttr:head.Len])
}

func intOf(value []byte) int {
	if len(value) < 4 {
		return 0
	}
	return int(*(*int32)(unsafe.Pointer(&value[0])))
}

// findLink returns the interface with this name, and the end of each cable that is plugged into it if it is a bridge.
func findLink(name string) (found link, exists bool, cables []link, err error) {
	all, err := links()
	if err != nil {
		return link{}, false, nil, err
	}
	for _, l := range all {
		if l.name == name {
			found, exists = l, true
		}
	}
	for _, l := range all {
		// Only the host's ends of pods' cables: a user may have plugged in a real network card.
		if exists && l.master == found.index && l.kind == "veth" {
			cables = append(cables, l)
		}
	}
	return found, exists, cables, nil
}

// removeBridge deletes the bridge and the cables plugged into it. No bridge is success.
func removeBridge(name string) error {
	bridge, exists, cables, err := findLink(name)
	if err != nil {
		return fmt.Errorf("remove bridge %s: %w", name, err)
	}
	if !exists {
		return nil
	}
	if bridge.kind != "bridge" {
		return fmt.Errorf("remove bridge %s: this interface is not a bridge, so it is not ours", name)
	}
	for _, l := range append(cables, bridge) {
		if err := removeLink(l); err != nil {
			return fmt.Errorf("remove interface %s: %w", l.name, err)
		}
	}
	return nil
}

// removeLink deletes a network interface by a netlink request of its own: `ip` may not be installed. One that is gone,
// since its peer in a pod went, is success.
func removeLink(l link) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	request := struct {
		unix.NlMsghdr
		unix.IfInfomsg
	}{
		unix.NlMsghdr{Len: unix.SizeofNlMsghdr + unix.SizeofIfInfomsg, Type: unix.RTM_DELLINK, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: 1},
		unix.IfInfomsg{Family: unix.AF_UNSPEC, Index: int32(l.index)},
	}
	raw := (*[unix.SizeofNlMsghdr + unix.SizeofIfInfomsg]byte)(unsafe.Pointer(&request))[:]
	if err := unix.Sendto(fd, raw, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return errors.New("the kernel's answer is too short")
	}
	errno := -*(*int32)(unsafe.Pointer(&answer[unix.SizeofNlMsghdr]))
	if errno != 0 && syscall.Errno(errno) != unix.ENODEV {
		return syscall.Errno(errno)
	}
	return nil
}
