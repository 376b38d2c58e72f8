package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A fetch gets one certificate through the API and keeps it. It may be cut anywhere and run again: the key, and with it the
// name of the request, is remembered before anything is asked, and forgotten after everything else.
type fetch struct {
	board    *board
	log      *slog.Logger
	store    *store
	requests Requests
	order    order
	present  *pair // what is in use now, nil if nothing is
	// then, if not nil, runs when the new pair is the current one, before its request is forgotten.
	then func() error
}

func (f *fetch) run(ctx context.Context) error {
	k, replaced, err := f.store.key(f.present)
	if err != nil {
		return fmt.Errorf("keep the key of a certificate request: %w", err)
	}
	if replaced != "" {
		f.log.Warn("certificate: made a new key for the request", "reason", replaced)
	}
	a := asking{requests: f.requests, waiting: f.board.waits, log: f.log, trouble: func(err error) {
		if err != nil {
			f.board.complain(troubleRequest, err.Error())
		} else {
			f.board.complain(troubleRequest, "")
		}
	}}
	text, err := a.obtain(ctx, f.order, k)
	if refused := new(refusal); errors.As(err, &refused) {
		return errors.Join(err, f.store.forget()) // with this key the answer would stay the same
	}
	if err != nil {
		return err
	}
	if p, err := parsePair(text, k.pem); err == nil && !f.order.metBy(p.leaf) {
		f.log.Warn("certificate: the signer changed what was asked for", "signer", f.order.signer,
			"asked", nodeUser+f.order.node, "names", f.order.dns, "addresses", f.order.ips,
			"gotSubject", p.subject(), "gotNames", p.leaf.DNSNames, "gotAddresses", p.leaf.IPAddresses)
	}
	if err := f.store.save(text, k.pem, time.Now()); err != nil {
		return fmt.Errorf("keep a new certificate: %w", err)
	}
	if f.then != nil {
		if err := f.then(); err != nil {
			return err
		}
	}
	f.log.Info("certificate: got a new one", "file", f.store.current())
	if err := f.store.prune(); err != nil {
		f.log.Warn("cannot remove old certificates", "dir", f.store.dir, "err", err)
	}
	return f.store.forget()
}
