package controlplane

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pannier/proxy/hostport"
	"pannier/proxy/identity"
	"pannier/proxy/mesh"
)

// Options configure one control plane.
type Options struct {
	Listen string // HOST:PORT for xDS
	Admin  string // HOST:PORT for operators
	Health string // HOST:PORT of health pages and metrics alone; empty: only where Admin is

	// Trust admits clients, and proves to them who this is; whoever made it runs it.
	// Nil is plain text, which is refused beyond loopback without Insecure.
	Trust    *identity.Trust
	Insecure bool

	// Sources, the most believed first. Of what a *Registration has heard at one
	// start, nothing is left at the next.
	Sources []Source
	// Security is what clusters say of how peers are reached; nil says nothing.
	Security *mesh.Security

	// Quiet is how long the sources must be silent before what they said is
	// served, and Longest how long that may put it off.
	Quiet, Longest time.Duration
	// Settle is how long after its start it takes nothing from clients that come
	// with what they know, while sidecars register again; see the package.
	Settle time.Duration
	// MaxAge is when a connection is asked to come again, give or take a tenth, so
	// that clients spread over replicas.
	MaxAge time.Duration

	// Judge is how often it is looked whether clients would be judged otherwise than
	// when they said what they announce.
	Judge time.Duration

	Version string       // of the program, for people to read
	Log     *slog.Logger // nil: slog.Default()

	limits *limits // nil: newLimits()
}

// DefaultOptions are what a control plane runs with when nobody says otherwise.
// It has no source.
func DefaultOptions() Options {
	return Options{
		Listen:  "0.0.0.0:7410",
		Admin:   "127.0.0.1:7412",
		Quiet:   50 * time.Millisecond,
		Longest: time.Second,
		Settle:  DefaultGrace,
		MaxAge:  30 * time.Minute,
		Judge:   10 * time.Second,
	}
}

// Validate returns all complaints, each with its key and what to do.
func (o *Options) Validate() error {
	var errs []error
	if err := hostport.Listen(o.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	} else if o.Trust == nil && !o.Insecure && !hostport.OnLoopback(o.Listen) {
		errs = append(errs, fmt.Errorf("listen: %s is beyond loopback and the channel is plain text; set tls_cert, tls_key and tls_ca, spiffe_socket, or keyring; or use 127.0.0.1:PORT, or insecure if the network itself is trusted", o.Listen))
	}
	if o.Insecure && o.Trust != nil {
		errs = append(errs, errors.New("insecure: set beside an identity, which it would have no effect on; take one of them out"))
	}
	if err := hostport.Listen(o.Admin); err != nil {
		errs = append(errs, fmt.Errorf("admin: %w", err))
	}
	if o.Health != "" {
		if err := hostport.Listen(o.Health); err != nil {
			errs = append(errs, fmt.Errorf("health: %w", err))
		}
	}
	if len(o.Sources) == 0 {
		errs = append(errs, errors.New("source: none; name at least one of registration, file=PATH, dns=AGENT=HOST:PORT"))
	}
	seen := map[string]bool{}
	for _, s := range o.Sources {
		if seen[s.Name()] {
			errs = append(errs, fmt.Errorf("source: %s is named twice", s.Name()))
		}
		seen[s.Name()] = true
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"quiet", o.Quiet}, {"longest", o.Longest}, {"max_age", o.MaxAge}, {"judge", o.Judge}} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: %s; use a duration above zero", d.key, d.value))
		}
	}
	return errors.Join(errs...)
}

// registration is the source among them that the server feeds, or nil.
func (o *Options) registration() *Registration {
	for _, s := range o.Sources {
		if r, ok := s.(*Registration); ok {
			return r
		}
	}
	return nil
}
