package cluster

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificateFiles is a client certificate in files that others may replace.
type certificateFiles struct {
	cert, key string

	mu       sync.Mutex
	have     *tls.Certificate
	certTime time.Time
	keyTime  time.Time
}

// read reads the files.
func (f *certificateFiles) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readLocked()
}

func (f *certificateFiles) readLocked() error {
	certTime, keyTime, err := f.times()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("client certificate %s with key %s: %w", f.cert, f.key, err)
	}
	f.have, f.certTime, f.keyTime = &pair, certTime, keyTime
	return nil
}

func (f *certificateFiles) times() (cert, key time.Time, err error) {
	c, err := os.Stat(f.cert)
	if err != nil {
		return cert, key, fmt.Errorf("client certificate: %w", err)
	}
	k, err := os.Stat(f.key)
	if err != nil {
		return cert, key, fmt.Errorf("client key: %w", err)
	}
	return c.ModTime(), k.ModTime(), nil
}

// newest returns what the files hold, or held when they were last whole. It reads them only if their times changed.
func (f *certificateFiles) newest() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	certTime, keyTime, err := f.times()
	if err == nil && (!certTime.Equal(f.certTime) || !keyTime.Equal(f.keyTime)) {
		_ = f.readLocked() // half written: the old one is kept, and the files are read again next time
	}
	return f.have
}
