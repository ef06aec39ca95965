package outbound

import (
	"errors"
	"time"
)

// ErrNoLink: nothing is, or was lately, sent to that address.
var ErrNoLink = errors.New("no such address")

// OpenBreaker leaves an endpoint alone at an operator's word, until CloseBreaker
// or our next start. What it holds it goes on with, and reports when it is dialed
// again; without a stream for HolderLostAfter it is given up for lost, as ever.
func (d *Dispatcher) OpenBreaker(address string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.mu.links[address]
	if l == nil {
		return ErrNoLink
	}
	l.breaker.force()
	if l.session != nil {
		l.session.cancel(errOperator)
	}
	l.poke()
	d.wakeAllLocked()
	return nil
}

// CloseBreaker forgets all failures of an endpoint: it is tried at once.
func (d *Dispatcher) CloseBreaker(address string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.mu.links[address]
	if l == nil {
		return ErrNoLink
	}
	l.breaker.reset()
	l.failures, l.notBefore = 0, time.Time{}
	l.poke()
	d.wakeAllLocked()
	return nil
}
