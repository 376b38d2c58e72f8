package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// fileTime is the time in the names of stored pairs, as upstream writes it.
const fileTime = "2006-01-02-15-04-05"

// A store keeps the pairs of one kind in the certificate directory, and the key of the request under way.
type store struct {
	dir  string
	name string // kubelet-client or kubelet-server
	// step, if not nil, is called before each change on disk; an error stands for a crash. For tests.
	step func(what string) error
}

func (s *store) current() string    { return filepath.Join(s.dir, s.name+"-current.pem") }
func (s *store) pendingKey() string { return filepath.Join(s.dir, s.name+".key.tmp") }

func (s *store) before(what string) error {
	if s.step == nil {
		return nil
	}
	return s.step(what)
}

// load returns the current pair; the error is fs.ErrNotExist if there is none.
func (s *store) load() (*pair, error) {
	return loadPair(s.current(), s.current())
}

// save makes a pair the current one.
func (s *store) save(certPEM, keyPEM []byte, now time.Time) error {
	if err := makeDir(s.dir); err != nil {
		return fmt.Errorf("make directory of certificates: %w", err)
	}
	if err := s.before("write pair"); err != nil {
		return err
	}
	base := s.fileName(now)
	if err := writeFile(filepath.Join(s.dir, base), joinPair(certPEM, keyPEM), 0o600); err != nil {
		return err
	}
	if err := s.before("link pair"); err != nil {
		return err
	}
	if err := s.keepPlainFile(); err != nil {
		return err
	}
	if err := linkFile(base, s.current()); err != nil {
		return fmt.Errorf("link %s: %w", s.current(), err)
	}
	return nil
}

func (s *store) fileName(at time.Time) string { return s.name + "-" + at.Format(fileTime) + ".pem" }

// keepPlainFile gives a current pair that somebody copied into place, instead of linking it, a name by which it survives.
func (s *store) keepPlainFile() error {
	info, err := os.Lstat(s.current())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	err = os.Link(s.current(), filepath.Join(s.dir, s.fileName(info.ModTime())))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep %s: %w", s.current(), err)
	}
	return nil
}

// prune removes all pairs but the current one and the newest of the others.
func (s *store) prune() error {
	current, err := os.Readlink(s.current())
	if err != nil {
		return err
	}
	current = filepath.Base(current)
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var old []string
	for _, e := range entries {
		at, ours := strings.CutPrefix(e.Name(), s.name+"-")
		at, isPEM := strings.CutSuffix(at, ".pem")
		_, err := time.Parse(fileTime, at)
		if ours && isPEM && err == nil && e.Type().IsRegular() && e.Name() != current {
			old = append(old, e.Name())
		}
	}
	slices.Sort(old)
	var errs []error
	for _, name := range old[:max(0, len(old)-1)] {
		errs = append(errs, removeFile(filepath.Join(s.dir, name)))
	}
	return errors.Join(errs...)
}

// A signingKey is a private key and its text.
type signingKey struct {
	signer crypto.Signer
	pem    []byte
}

// key returns the key of the request under way, or makes one. A left-over key that is the current pair's is not used again:
// a new certificate gets a new key. replaced says why a key that was there was not taken; empty if nothing is odd.
func (s *store) key(current *pair) (k *signingKey, replaced string, err error) {
	path := s.pendingKey()
	text, err := readFile(path)
	switch {
	case err == nil:
		if k, err = parseKey(text); err == nil && (current == nil || !samePublic(k.signer.Public(), current.leaf.PublicKey)) {
			return k, "", nil
		}
		if err != nil {
			replaced = fmt.Sprintf("key of a certificate request in %s cannot be used: %v", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		replaced = err.Error()
	}
	if k, err = newKey(); err != nil {
		return nil, replaced, err
	}
	if err := makeDir(s.dir); err != nil {
		return nil, replaced, fmt.Errorf("make directory of certificates: %w", err)
	}
	if err := s.before("write key"); err != nil {
		return nil, replaced, err
	}
	return k, replaced, writeFile(path, k.pem, 0o600)
}

// forget removes the key of the request under way: it is done, or will not be taken up again.
func (s *store) forget() error {
	if err := s.before("forget key"); err != nil {
		return err
	}
	return removeFile(s.pendingKey())
}

// tidy removes the key of a request whose pair is the current one: a crash came before forget.
func (s *store) tidy() error {
	text, err := readFile(s.pendingKey())
	if err != nil {
		return nil // there is none, or key replaces it
	}
	p, err := s.load()
	if err != nil {
		return nil
	}
	if k, err := parseKey(text); err != nil || !samePublic(k.signer.Public(), p.leaf.PublicKey) {
		return nil
	}
	return s.forget()
}

func newKey() (*signingKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &signingKey{k, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})}, nil
}

// parseKey reads the first private key of a PEM text, in any of the three usual forms.
func parseKey(text []byte) (*signingKey, error) {
	block, _ := pem.Decode(onlyBlocks(text, isKeyBlock))
	if block == nil {
		return nil, errors.New("no PRIVATE KEY block")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes) // some write the wrong word above it, so the word does not matter
	if err != nil {
		if ec, ecErr := x509.ParseECPrivateKey(block.Bytes); ecErr == nil {
			key, err = ec, nil
		} else if rsa, rsaErr := x509.ParsePKCS1PrivateKey(block.Bytes); rsaErr == nil {
			key, err = rsa, nil
		}
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return &signingKey{signer, bytes.Clone(pem.EncodeToMemory(block))}, nil
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func isRSA(k crypto.PublicKey) bool {
	_, ok := k.(*rsa.PublicKey)
	return ok
}
