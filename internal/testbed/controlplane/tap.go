package controlplane

import (
	"net"
	"sync"
)

// A tap is a listener whose connections can be cut and frozen.
type tap struct {
	net.Listener

	mu     sync.Mutex
	conns  map[*tapped]struct{}
	thawed chan struct{} // closed unless frozen
}

func newTap(l net.Listener) *tap {
	open := make(chan struct{})
	close(open)
	return &tap{Listener: l, conns: map[*tapped]struct{}{}, thawed: open}
}

func (t *tap) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &tapped{Conn: conn, tap: t, closed: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c] = struct{}{}
	return c, nil
}

func (t *tap) cut() {
	t.mu.Lock()
	var all []*tapped
	for c := range t.conns {
		all = append(all, c)
	}
	t.mu.Unlock()
	for _, c := range all {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not an end; harmless if it fails
		}
		_ = c.Close() // it may have ended
	}
}

func (t *tap) freeze() {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.thawed:
		t.thawed = make(chan struct{})
	default: // frozen already
	}
}

func (t *tap) thaw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.thawed:
	default:
		close(t.thawed)
	}
}

// tapped is a connection of a client.
type tapped struct {
	net.Conn
	tap    *tap
	once   sync.Once
	closed chan struct{}
}

// wait returns when nothing is frozen, or this connection is closed.
func (c *tapped) wait() error {
	c.tap.mu.Lock()
	thawed := c.tap.thawed
	c.tap.mu.Unlock()
	select {
	case <-thawed:
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	// What was read while frozen is held back: a read may have begun before.
	if err := c.wait(); err != nil {
		return 0, err
	}
	return n, err
}

func (c *tapped) Write(b []byte) (int, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *tapped) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		c.tap.mu.Lock()
		delete(c.tap.conns, c)
		c.tap.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}
