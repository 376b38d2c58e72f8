package host

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBooted(t *testing.T) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Skip(err)
	}
	up, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Since(Booted()); got < time.Duration(up*float64(time.Second)) || got > time.Duration(up*float64(time.Second))+time.Minute {
		t.Errorf("up for %v, the kernel says %v s", got, up)
	}
}
