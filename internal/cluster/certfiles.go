package cluster

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// certificateOf returns what gives the client certificate of a kubeconfig, nil if it has none.
func certificateOf(c *rest.Config) (func() *tls.Certificate, error) {
	switch {
	case c.CertFile != "" && len(c.CertData) == 0 && len(c.KeyData) == 0:
		files := &certificateFiles{cert: c.CertFile, key: c.KeyFile}
		return files.newest, files.read()
	case len(c.CertData) > 0 && len(c.KeyData) > 0:
		pair, err := tls.X509KeyPair(c.CertData, c.KeyData)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		return func() *tls.Certificate { return &pair }, nil
	}
	return nil, nil // none, or one half in a file, which client-go puts together
}

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
