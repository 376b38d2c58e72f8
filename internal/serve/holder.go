package serve

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder names the process that listens on the port of an address, or returns "" if /proc does not tell.
func portHolder(proc, address string) string {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return ""
	}
	inodes := map[string]bool{}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		listening(filepath.Join(proc, table), uint16(port), inodes)
	}
	if len(inodes) == 0 {
		return ""
	}
	return socketHolder(proc, inodes)
}

// listening adds the inodes of the sockets that listen on a port. The columns are sl, local_address, rem_address, st,
// queues, timer, retransmissions, uid, timeout, inode; addresses and st are hexadecimal, and 0A is LISTEN.
func listening(table string, port uint16, inodes map[string]bool) {
	file, err := os.Open(table)
	if err != nil {
		return
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if inode, ok := listener(lines.Text(), port); ok {
			inodes["socket:["+inode+"]"] = true
		}
	}
}

func listener(line string, port uint16) (string, bool) {
	words := strings.Fields(line)
	if len(words) < 10 || words[3] != "0A" {
		return "", false
	}
	_, hex, ok := strings.Cut(words[1], ":")
	if !ok {
		return "", false
	}
	got, err := strconv.ParseUint(hex, 16, 16)
	return words[9], err == nil && uint16(got) == port
}

// socketHolder finds a process that has one of the sockets open.
func socketHolder(proc string, sockets map[string]bool) string {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	if err != nil {
		return ""
	}
	for _, file := range files {
		if to, err := os.Readlink(file); err != nil || !sockets[to] {
			continue
		}
		dir := filepath.Dir(filepath.Dir(file))
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return "process " + filepath.Base(dir)
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(dir))
	}
	return ""
}
