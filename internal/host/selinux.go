package host

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// usualFileLabel is that of most policies.
const usualFileLabel = "system_u:object_r:container_file_t:s0"

// FileLabel is the SELinux label that the policy of this machine has for files of containers. dir is /etc/selinux.
func FileLabel(dir string) string {
	policy := valueOf(filepath.Join(dir, "config"), "SELINUXTYPE")
	if policy == "" || strings.Contains(policy, "/") {
		return usualFileLabel
	}
	if label := valueOf(filepath.Join(dir, policy, "contexts", "lxc_contexts"), "file"); strings.Count(label, ":") >= 3 {
		return label
	}
	return usualFileLabel
}

// valueOf reads a setting from a file of lines such as key = "value".
func valueOf(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if ok && strings.TrimSpace(name) == key {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}
