package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// watchWorkload takes X.509-SVIDs and bundles from the SPIFFE Workload API until
// ctx ends. Nothing waits for it: until it has answered handshakes fail, and
// afterwards the last answer stays in force whatever becomes of the socket.
func (t *Trust) watchWorkload(ctx context.Context) {
	t.mu.Lock()
	t.mu.missing = fmt.Errorf("the Workload API at %s has given this sidecar no identity yet: see whether its agent runs and has an entry for it", t.opt.SPIFFESocket)
	t.mu.Unlock()
	w := &workload{trust: t}
	for ctx.Err() == nil {
		err := workloadapi.WatchX509Context(ctx, w, workloadapi.WithAddr(t.opt.SPIFFESocket))
		if ctx.Err() != nil {
			return
		}
		// go-spiffe gives up on what it takes for a mistake of ours (such as "no
		// identity issued" of some agents); an entry may yet be made.
		w.complain(err)
		select {
		case <-ctx.Done():
		case <-time.After(workloadAgain):
		}
	}
}

const workloadAgain = 5 * time.Second

// workload implements workloadapi.X509ContextWatcher.
type workload struct {
	trust *Trust
	said  string // the last complaint
}

func (w *workload) complain(err error) {
	if err == nil || w.said == err.Error() {
		return
	}
	w.said = err.Error()
	w.trust.log.Error("the Workload API gives nothing new, what it gave last stays in force", "state", w.trust.opt.SPIFFESocket, "err", err)
}

// OnX509ContextUpdate takes over what the API has pushed. Of several identities
// the first is used, as the API's specification says of those who ask for one.
func (w *workload) OnX509ContextUpdate(c *workloadapi.X509Context) {
	svid := c.DefaultSVID()
	own := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, cert := range svid.Certificates {
		own.Certificate = append(own.Certificate, cert.Raw)
	}
	m := &material{own: own, names: names{spiffe: svid.ID, uris: []string{svid.ID.String()}}, domains: map[string][]*x509.Certificate{}}
	for _, b := range c.Bundles.Bundles() {
		m.domains[b.TrustDomain().Name()] = b.X509Authorities()
	}
	if err := w.trust.succeeds(m, time.Now()); err != nil {
		w.trust.putOff(m)
		w.complain(err)
		return
	}
	w.said = ""
	w.trust.putOff(nil)
	w.trust.set(m)
	w.trust.log.Info("identity taken from the Workload API", "peer", svid.ID.String(), "until", own.Leaf.NotAfter.UTC())
}

// putOff keeps what was pushed, and is pushed once, until it can be taken; nil is
// that nothing waits. Its bundles are taken at once: who others are is another
// matter than who we are.
func (t *Trust) putOff(m *material) {
	t.mu.Lock()
	t.mu.later = m
	source := t.mu.source
	t.mu.Unlock()
	if m != nil {
		still := *source
		still.domains = m.domains
		t.set(&still)
	}
}

// takeLater takes what was put off, if nothing speaks against it any more.
func (t *Trust) takeLater(now time.Time) {
	t.mu.Lock()
	m := t.mu.later
	t.mu.Unlock()
	if m == nil || t.succeeds(m, now) != nil {
		return
	}
	t.mu.Lock()
	pushed := t.mu.later == m
	if pushed {
		t.mu.later = nil
	}
	t.mu.Unlock()
	if pushed {
		t.set(m)
		t.log.Info("identity taken from the Workload API", "peer", m.self(), "until", m.own.Leaf.NotAfter.UTC())
	}
}

// OnX509ContextWatchError is told of each failure to ask; go-spiffe asks again.
func (w *workload) OnX509ContextWatchError(err error) { w.complain(err) }
