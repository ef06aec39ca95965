package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Options say where this sidecar's identity comes from: one of certificate
// files, the SPIFFE Workload API and a keyring, or none; and what is made of
// those of others.
type Options struct {
	TLSCert, TLSKey, TLSCA string // PEM files
	SPIFFESocket           string // unix:///PATH or tcp://IP:PORT of the Workload API
	Keyring                string // YAML file; whoever reads it calls SetKeys

	Identities []Mapping // none: certificates name their agents themselves
	Allow      Policy    // nil: agents of one org
}

// Configured reports whether channels prove who is at their ends.
func (o *Options) Configured() bool {
	return o.files() || o.SPIFFESocket != "" || o.Keyring != ""
}

func (o *Options) files() bool { return o.TLSCert+o.TLSKey+o.TLSCA != "" }

// Validate joins every complaint. It reads no file.
func (o *Options) Validate() error {
	var errs []error
	sources := 0
	for _, given := range []bool{o.files(), o.SPIFFESocket != "", o.Keyring != ""} {
		if given {
			sources++
		}
	}
	if sources > 1 {
		errs = append(errs, errors.New("tls_cert, spiffe_socket, keyring: an identity has one source; set one of them"))
	}
	if o.files() {
		for _, f := range []struct{ key, path string }{{"tls_cert", o.TLSCert}, {"tls_key", o.TLSKey}, {"tls_ca", o.TLSCA}} {
			if f.path == "" {
				errs = append(errs, fmt.Errorf("%s: empty; tls_cert, tls_key and tls_ca go together", f.key))
			}
		}
	}
	if o.SPIFFESocket != "" {
		errs = append(errs, checkSocket(o.SPIFFESocket))
	}
	if o.Keyring != "" && len(o.Identities) > 0 {
		errs = append(errs, errors.New("identities: a keyring has no certificates to map; list agents with its keys"))
	}
	if sources == 0 && (len(o.Identities) > 0 || o.Allow != nil) {
		errs = append(errs, errors.New("identities, allow: nothing proves who a peer is; set tls_cert, spiffe_socket or keyring"))
	}
	return errors.Join(errs...)
}

// Trust is this sidecar's identity and what it makes of those of others. It
// gives gRPC its credentials; handshakes after a change use what is new, and
// channels whose peer is trusted no more are cut. Safe for concurrent use.
type Trust struct {
	opt   Options
	log   *slog.Logger
	files *files // nil: no certificate files

	mu struct {
		sync.Mutex
		source   *material                      // as read
		now      *material                      // and with the bundles
		missing  error                          // why there is none
		keeps    []string                       // agents that no change may lose
		later    *material                      // pushed, and not to be taken yet
		bundles  map[string][]*x509.Certificate // given from outside, by name
		channels map[*channel]struct{}
		told     string // the last refusal in the log
		toldAt   time.Time
		untold   int // refusals since
	}
}

// New reads the certificate files, where there are any: an error is one of
// configuration. It starts nothing.
func New(o Options, log *slog.Logger) (*Trust, error) {
	t := &Trust{opt: o, log: log}
	t.mu.missing = errNothing
	t.mu.channels = map[*channel]struct{}{}
	t.mu.bundles = map[string][]*x509.Certificate{}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.files() {
		t.files = &files{cert: o.TLSCert, key: o.TLSKey, ca: o.TLSCA}
		m, sum, err := t.files.read()
		if err != nil {
			return nil, err
		}
		t.files.seen = sum
		t.set(m)
	}
	return t, nil
}

// lookEvery is how often the files are read again, and channels looked at for
// peers whose certificate has expired.
const lookEvery = time.Second

// Run keeps up with the files or the Workload API until ctx ends.
func (t *Trust) Run(ctx context.Context) error {
	var api sync.WaitGroup
	defer api.Wait()
	if t.opt.SPIFFESocket != "" {
		api.Go(func() { t.watchWorkload(ctx) })
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if t.files != nil {
				t.reread()
			}
			t.takeLater(now)
			t.expire(now)
		}
	}
}

// material is what handshakes use now; nil: there is none yet.
func (t *Trust) material() *material {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.now
}

// lacking says why there is no material.
func (t *Trust) lacking() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.missing
}

// set puts new material in force, with what was given from outside.
func (t *Trust) set(m *material) {
	t.mu.Lock()
	t.mu.source, t.mu.now, t.mu.missing = m, m.with(t.mu.bundles), nil
	t.mu.Unlock()
	t.review()
}

// Self is what this sidecar is called by its peers; empty while it has no identity.
func (t *Trust) Self() string {
	m := t.material()
	if m == nil {
		return ""
	}
	return m.self()
}

// Fault says what is wrong with our own identity; nil: peers can take us for who
// we are. A certificate with less than a tenth of its time left should have been
// renewed.
func (t *Trust) Fault(now time.Time) error {
	m := t.material()
	if m == nil {
		return t.lacking()
	}
	from, to := m.own.Leaf.NotBefore, m.own.Leaf.NotAfter
	switch left := to.Sub(now); {
	case now.Before(from):
		return fmt.Errorf("our certificate is not valid before %s: see whether the clocks agree, no peer takes it", from.UTC().Format(time.RFC3339))
	case left <= 0:
		return fmt.Errorf("our certificate expired at %s: renew it, no peer takes it", to.UTC().Format(time.RFC3339))
	case left < to.Sub(from)/10:
		return fmt.Errorf("our certificate expires at %s: renew it", to.UTC().Format(time.RFC3339))
	}
	return nil
}

// Unspoken are those of the agents that our own certificate, or key, is not for,
// as this sidecar would judge it: most likely others will refuse them too.
func (t *Trust) Unspoken(agents []string) (out []string) {
	m := t.material()
	if m == nil {
		return nil
	}
	grants := m.grants(&t.opt)
	for _, a := range agents {
		if !covered(grants, a) {
			out = append(out, a)
		}
	}
	return out
}

func checkSocket(address string) error {
	if path, ok := strings.CutPrefix(address, "unix://"); ok && strings.HasPrefix(path, "/") {
		return nil
	}
	if strings.HasPrefix(address, "tcp://") {
		return nil
	}
	return fmt.Errorf("spiffe_socket: %q; use unix:///PATH, or tcp://IP:PORT", address)
}
