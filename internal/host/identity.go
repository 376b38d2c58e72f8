package host

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Identity is who the machine is (behaviour 296). What cannot be read is empty: none of it is worth not starting for.
type Identity struct {
	// MachineID is that of the installation, SystemUUID that of the hardware, or the same as MachineID where the
	// hardware has none; BootID is new each time the machine starts.
	MachineID, SystemUUID, BootID string
	// Kernel is the kernel's release, such as 6.1.0-18-amd64.
	Kernel string
	// OSImage is what the distribution calls itself, such as Debian GNU/Linux 12 (bookworm).
	OSImage string
	// UserNamespace tells that the agent does not run in the machine's own user namespace.
	UserNamespace bool
}

// Who reads the machine's identity.
func Who() Identity {
	i := whoBelow("/")
	var system unix.Utsname
	if unix.Uname(&system) == nil {
		i.Kernel = unix.ByteSliceToString(system.Release[:])
	}
	return i
}

// whoBelow reads what files tell, below a root directory.
func whoBelow(root string) Identity {
	i := Identity{
		MachineID:     firstWord(root, "etc/machine-id", "var/lib/dbus/machine-id"),
		SystemUUID:    firstWord(root, "sys/class/dmi/id/product_uuid", "proc/device-tree/system-id", "proc/device-tree/vm,uuid"),
		BootID:        firstWord(root, "proc/sys/kernel/random/boot_id"),
		OSImage:       "Linux",
		UserNamespace: inUserNamespace(filepath.Join(root, "proc/self/uid_map")),
	}
	if i.SystemUUID == "" {
		i.SystemUUID = i.MachineID
	}
	for _, file := range []string{"etc/os-release", "usr/lib/os-release"} {
		if name := prettyName(filepath.Join(root, file)); name != "" {
			i.OSImage = name
			break
		}
	}
	return i
}

// firstWord is the content of the first file that has any. Device trees end their words with a zero byte. A machine-id
// of "uninitialized" belongs to an image that was not started yet.
func firstWord(root string, files ...string) string {
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root, file))
		if word := strings.Trim(string(text), " \t\r\n\x00"); err == nil && word != "" && word != "uninitialized" {
			return word
		}
	}
	return ""
}

// prettyName reads PRETTY_NAME of an os-release file, which is written as a shell would read it.
func prettyName(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return unquote(value)
		}
	}
	return ""
}

// unquote undoes the quotes and backslashes of os-release(5).
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
		return value[1 : len(value)-1]
	}
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	var out strings.Builder
	escaped := false
	for _, r := range value {
		if r == '\\' && !escaped {
			escaped = true
			continue
		}
		escaped = false
		out.WriteRune(r)
	}
	return out.String()
}

// inUserNamespace tells whether users are mapped: the machine's own namespace has one line, which maps all to themselves.
func inUserNamespace(uidMap string) bool {
	text, err := os.ReadFile(uidMap)
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}
