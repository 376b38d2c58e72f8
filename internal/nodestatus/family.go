package nodestatus

import (
	"fmt"
	"net/netip"
)

// FamilyMismatch is what to tell of a pod whose status names an address of its node that is of another family than the address the
// node has now; empty if there is nothing to tell.
func FamilyMismatch(told, now string) string {
	was, err := netip.ParseAddr(told)
	if err != nil {
		return ""
	}
	is, err := netip.ParseAddr(now)
	if err != nil || was.Unmap().Is4() == is.Unmap().Is4() {
		return ""
	}
	family := func(a netip.Addr) int {
		if a.Unmap().Is4() {
			return 4
		}
		return 6
	}
	return fmt.Sprintf("Kubelet detected an IPv%d node IP (%s), but the status of the pod names an IPv%d node IP (%s); pass an explicit `--node-ip` to kubelet to fix this.",
		family(is), is, family(was), was)
}
