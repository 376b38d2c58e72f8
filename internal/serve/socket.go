package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// longestSocket is how many bytes the path of a Unix socket may have.
const longestSocket = 107

// openSocket listens on a Unix socket with mode 0600. It is made under another name, so that at its own name there is
// never one that others could open, and renamed over what an earlier life left there.
func openSocket(ctx context.Context, path string) (net.Listener, error) {
	making := path + ".new"
	if len(making) > longestSocket {
		return nil, fmt.Errorf("the path of the socket has %d bytes; Linux allows %d", len(path), longestSocket-len(".new"))
	}
	if err := os.Remove(making); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", making)
	if err != nil {
		return nil, err
	}
	listener, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: not a Unix socket", path), l.Close())
	}
	listener.SetUnlinkOnClose(false)
	if err = os.Chmod(making, 0o600); err == nil {
		err = os.Rename(making, path)
	}
	var mine os.FileInfo
	if err == nil {
		mine, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(making))
	}
	return &socket{UnixListener: listener, path: path, mine: mine}, nil
}

// socket is a listener that talks to root and to the agent's own user only.
type socket struct {
	*net.UnixListener
	path string
	mine os.FileInfo
}

// Addr is where it can be found.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Accept returns the next connection of somebody who may come in.
func (s *socket) Accept() (net.Conn, error) {
	for {
		conn, err := s.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if mayEnter(conn) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

func mayEnter(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	if raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return false
	}
	return peer.Uid == 0 || int(peer.Uid) == os.Geteuid()
}

// Close ends the socket and removes it, unless it was replaced by that of another agent.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EINVAL) {
		return err
	}
	if now, look := os.Lstat(s.path); look == nil && os.SameFile(now, s.mine) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}
