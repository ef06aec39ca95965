package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"

	"pannier/inbound"
	"pannier/proxy/admin"
	"pannier/proxy/identity/identityfile"
)

// setIdentities reads which agents the names of certificates stand for.
func setIdentities(o *Options, file string, n ast.Node) (err error) {
	o.Identity.Identities, err = identityfile.Mappings(file, n)
	return err
}

// setAllow reads who may send to whom; what it does not list is refused.
func setAllow(o *Options, file string, n ast.Node) (err error) {
	o.Identity.Allow, err = identityfile.Policy(file, n)
	return err
}

// identified reports whether channels prove who is at their ends.
func (p *Proxy) identified() bool { return p.opts.Identity.Configured() }

// homeOf tells the peer server who a home is.
func (p *Proxy) homeOf(ctx context.Context) (inbound.Peer, error) {
	peer, err := p.trust.Of(ctx)
	if err != nil {
		return nil, err
	}
	return peer, nil
}

// holderOf tells the dispatcher for whom a holder speaks.
func (p *Proxy) holderOf(ctx context.Context) (func(agent string) error, error) {
	peer, err := p.trust.Of(ctx)
	if err != nil {
		return nil, err
	}
	return peer.SpeaksFor, nil
}

// maySend refuses at once what the sidecar of the receiver would refuse: a sender
// that is not ours. What is to an agent of our own is held to our own policy.
func (p *Proxy) maySend(serves func(agent string) bool) func(from, to, intentType string) error {
	if !p.identified() {
		return nil
	}
	return func(from, to, intentType string) error {
		switch {
		case !serves(from):
			return fmt.Errorf("%s is not served by this sidecar, which could not prove to send for it; add it with --agent", from)
		case serves(to):
			return p.trust.MaySend(from, to, intentType)
		}
		return nil
	}
}

// identityCheck is advice: what is wrong with an identity is not mended by giving
// the app another sidecar, or this one a restart.
func (p *Proxy) identityCheck() admin.Check {
	c := admin.Check{Name: "identity", OK: true, Advice: true}
	if err := p.trust.Fault(time.Now()); err != nil {
		c.OK, c.Detail = false, err.Error()
	}
	return c
}

// introduce says who this sidecar is to its peers, and whom they will not
// take it for. What it is taken for it stays, whatever is put into its files.
func (p *Proxy) introduce(agents []string) {
	if !p.identified() {
		return
	}
	p.trust.Keep(agents)
	if p.trust.Self() == "" {
		return
	}
	p.log.Info("identity", "peer", p.trust.Self())
	if strange := p.trust.Unspoken(agents); len(strange) > 0 {
		p.log.Warn("peers with the same settings will not take this sidecar for all of its agents", "peer", p.trust.Self(), "agent", strange[0], "more", len(strange)-1)
	}
}
