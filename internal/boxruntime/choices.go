package boxruntime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// choices are what Start decided once and keeps, since changing it would lose images or cut off pods.
type choices struct {
	Version     int          `json:"version"`
	Bridge      string       `json:"bridge,omitempty"`
	Subnet      netip.Prefix `json:"subnet"`
	Snapshotter string       `json:"snapshotter"`
	// Containerd is the identity of the program whose version ContainerdVersion is: so it is asked only once.
	Containerd        string `json:"containerd"`
	ContainerdVersion [2]int `json:"containerdVersion"`
}

const choicesVersion = 1

// readChoices reads box.json. A damaged file is put aside: everything in it can be found again, at worst with another
// subnet. One from a newer Bosun is refused.
func readChoices(c Config) (choices, error) {
	file := c.choicesFile()
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return choices{Version: choicesVersion}, nil
	} else if err != nil {
		return choices{}, fmt.Errorf("read what was chosen for the runtime: %w", err)
	}
	var ch choices
	if err := json.Unmarshal(data, &ch); err != nil {
		c.Log.Warn("what was chosen for the runtime is unreadable and is chosen anew", "file", file, "aside", file+".bad", "error", err)
		if err := os.Rename(file, file+".bad"); err != nil {
			return choices{}, fmt.Errorf("put the unreadable %s aside: %w", file, err)
		}
		return choices{Version: choicesVersion}, nil
	}
	if ch.Version != choicesVersion {
		return choices{}, fmt.Errorf("%s has version %d, this Bosun knows version %d: use the Bosun that wrote it, or another root directory", file, ch.Version, choicesVersion)
	}
	return ch, nil
}

// settle makes the choices that are open and writes all of them down before anything is built on them.
func settle(ctx context.Context, c Config) (choices, facts, error) {
	ch, err := readChoices(c)
	if err != nil {
		return ch, facts{}, err
	}
	if err := settleVersion(ctx, c, &ch); err != nil {
		return ch, facts{}, err
	}
	settleSnapshotter(c, &ch)
	if c.ownNetwork() {
		if err := settleNetwork(ctx, c, &ch); err != nil {
			return ch, facts{}, err
		}
	}
	data, err := json.MarshalIndent(ch, "", "  ")
	if err != nil {
		return ch, facts{}, fmt.Errorf("write what was chosen for the runtime: %w", err)
	}
	if err := writeFile(c.choicesFile(), append(data, '\n'), 0o600); err != nil {
		return ch, facts{}, err
	}
	return ch, facts{
		snapshotter: ch.Snapshotter,
		systemd:     systemdIsInit(),
		resourceCap: haveResourceCap(),
		version:     version{ch.ContainerdVersion[0], ch.ContainerdVersion[1]},
	}, nil
}

func settleVersion(ctx context.Context, c Config, ch *choices) error {
	path := filepath.Join(c.RuntimeDir, "containerd")
	id, err := identity(path)
	if err != nil {
		return fmt.Errorf("look at containerd: %w", err)
	}
	if ch.Containerd == id {
		return nil
	}
	v, err := askVersion(ctx, path)
	if err != nil {
		return err
	}
	ch.Containerd, ch.ContainerdVersion = id, [2]int{v.major, v.minor}
	return nil
}

func settleSnapshotter(c Config, ch *choices) {
	switch {
	case c.Snapshotter != "":
		ch.Snapshotter = c.Snapshotter
	case ch.Snapshotter == "":
		ch.Snapshotter = overlayfs
		if err := OverlayWorks(c.Root); err != nil {
			ch.Snapshotter = native
			c.Log.Warn("overlay mounts do not work here: image layers are copied instead, which is slow and takes space", "error", err)
		}
	}
}

// networkFile is the only file Bosun writes into its network directory.
const networkFile = "10-bosun.conflist"

func settleNetwork(ctx context.Context, c Config, ch *choices) error {
	bridge, exists, _, err := findLink(c.Bridge)
	if err != nil {
		return err
	}
	if exists && (bridge.kind != "bridge" || ch.Bridge != "" && ch.Bridge != c.Bridge) {
		return fmt.Errorf("interface %s is there already and is not this runtime's bridge: remove it (ip link delete %s) or name another bridge", c.Bridge, c.Bridge)
	}
	taken, mtu, err := hostRoutes(c.Bridge)
	if err != nil {
		return err
	}
	subnet, note, err := chooseSubnet(c.Subnet, ch.Subnet, taken, exists)
	if err != nil {
		return err
	}
	if note != "" {
		c.Log.Warn(note)
	}
	ch.Bridge, ch.Subnet = c.Bridge, subnet
	n := network{name: c.Bridge, bridge: c.Bridge, subnet: subnet, ipamDir: c.ipamDir()}
	if mtu > 0 && mtu < 1500 { // a tunnel: what is larger would be dropped on its way out
		n.mtu = mtu
	}
	if forwardDropped(ctx) {
		if n.firewall = pluginPath(c, "firewall") != ""; !n.firewall {
			c.Log.Warn("the host drops forwarded packets (iptables policy FORWARD DROP) and there is no network plugin \"firewall\" to let pods through: pods will not reach the outside", "searched", c.CNIBinDirs)
		}
	}
	data, err := renderConflist(n)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(c.netDir(), networkFile), data, 0o644)
}
