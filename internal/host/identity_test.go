package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWho(t *testing.T) { // behaviour 296
	const own = "         0          0 4294967295\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  Identity
	}{
		"nothing to read": {nil, Identity{OSImage: "Linux"}},
		"a machine": {map[string]string{
			"etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n", "sys/class/dmi/id/product_uuid": "4C4C4544-0042\n",
			"proc/sys/kernel/random/boot_id": "d12a42fd-9bcc\n", "proc/self/uid_map": own,
			"etc/os-release": "# comment\nNAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		}, Identity{MachineID: "3d1219c7c4c5404aaa1f6d2a48adfda4", SystemUUID: "4C4C4544-0042", BootID: "d12a42fd-9bcc", OSImage: "Debian GNU/Linux 12 (bookworm)"}},
		"no hardware id": {map[string]string{"var/lib/dbus/machine-id": "dbus\n"}, Identity{MachineID: "dbus", SystemUUID: "dbus", OSImage: "Linux"}},
		"an image that starts for the first time": {map[string]string{"etc/machine-id": "uninitialized\n", "var/lib/dbus/machine-id": "dbus\n"},
			Identity{MachineID: "dbus", SystemUUID: "dbus", OSImage: "Linux"}},
		"a device tree":              {map[string]string{"proc/device-tree/vm,uuid": "abc\x00"}, Identity{SystemUUID: "abc", OSImage: "Linux"}},
		"os-release elsewhere":       {map[string]string{"etc/os-release": "NAME=x\n", "usr/lib/os-release": "PRETTY_NAME='A \"B\"'\n"}, Identity{OSImage: `A "B"`}},
		"os-release with backslash":  {map[string]string{"etc/os-release": `PRETTY_NAME="A \"B\" \\"`}, Identity{OSImage: `A "B" \`}},
		"os-release without quotes":  {map[string]string{"etc/os-release": "PRETTY_NAME=Flatcar"}, Identity{OSImage: "Flatcar"}},
		"os-release with one quote":  {map[string]string{"etc/os-release": `PRETTY_NAME="`}, Identity{OSImage: `"`}},
		"in a user namespace":        {map[string]string{"proc/self/uid_map": "0 100000 65536\n"}, Identity{OSImage: "Linux", UserNamespace: true}},
		"in one with two lines":      {map[string]string{"proc/self/uid_map": "0 1000 1\n1 100000 65536\n"}, Identity{OSImage: "Linux", UserNamespace: true}},
		"in the machine's namespace": {map[string]string{"proc/self/uid_map": own}, Identity{OSImage: "Linux"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range c.files {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.want, whoBelow(root)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if i := Who(); i.Kernel == "" || i.BootID == "" || i.OSImage == "" {
		t.Errorf("this machine is %+v", i)
	}
}
