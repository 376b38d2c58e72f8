package kmsg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Device is where the kernel's log is.
const Device = "/dev/kmsg"

// longest is more than any record has: the kernel refuses a smaller buffer than it needs.
const longest = 16 << 10

// Watch tells of every process that is killed for want of memory from now on, until ctx ends. The error is for a log that cannot be
// read: there is none in some containers, and reading it needs a right.
func Watch(ctx context.Context, device string, tell func(Kill)) error {
	log, err := os.OpenFile(device, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("read the kernel's log: %w", err)
	}
	defer log.Close()
	if _, err := log.Seek(0, io.SeekEnd); err != nil && !errors.Is(err, syscall.ESPIPE) {
		return fmt.Errorf("find the end of the kernel's log %s: %w", device, err)
	}
	stop := context.AfterFunc(ctx, func() { log.Close() })
	defer stop()
	var p parser
	buffer := make([]byte, longest)
	for {
		n, err := log.Read(buffer)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EPIPE): // the kernel said more than it keeps; the next read goes on
			continue
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the kernel's log %s has ended", device)
		case err != nil:
			return fmt.Errorf("read the kernel's log: %w", err)
		}
		if k, ok := p.take(string(buffer[:n])); ok {
			tell(k)
		}
	}
}
