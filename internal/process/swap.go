package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CheckSwap refuses a machine with active swap if the configuration does (failSwapOn, behaviour 214). Swap of every
// kind counts, compressed memory (zram) included, as upstream has it; a kernel without swap has no /proc/swaps.
func CheckSwap(root string, fail bool) error {
	if !fail {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(root, "proc/swaps"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find out whether swap is on: %w", err)
	}
	areas := swaps(string(data))
	if len(areas) == 0 {
		return nil
	}
	return fmt.Errorf("swap is on (%s), and failSwapOn is true: set failSwapOn: false in the configuration file or --fail-swap-on=false to run with swap, which pods do not use unless memorySwap.swapBehavior says so; or switch it off with `swapoff -a` and remove it from /etc/fstab",
		strings.Join(areas, ", "))
}

// swaps are the names of the active areas: a header, then lines of name, type, size, used and priority.
func swaps(table string) (names []string) {
	header := true
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 0 && !header {
			names = append(names, strings.ReplaceAll(fields[0], `\040`, " "))
		}
		header = false
	}
	return names
}
