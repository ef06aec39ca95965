package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/goccy/go-yaml/ast"

	"pannier/inbound"
	"pannier/proxy/admin"
	"pannier/proxy/identity"
	"pannier/proxy/yaml"
)

// mappingsMost and rulesMost bound what is looked through at each handshake, and
// at each offer.
const (
	mappingsMost = 1000
	rulesMost    = 1000
)

// setIdentities reads which agents the names of certificates stand for.
//
//	identities:
//	  "spiffe://acme.example/ns/{env}/sa/{name}": ["agent://acme/{env}/{name}"]
func setIdentities(o *Options, file string, n ast.Node) error {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return yaml.ErrorAt(file, n.GetToken(), "identities", fmt.Sprintf("got %s, want a mapping of names of certificates to lists of agents", yaml.KindOf(n)))
	}
	if len(entries) > mappingsMost {
		return fmt.Errorf("%d entries, at most %d are read", len(entries), mappingsMost)
	}
	o.Identity.Identities = nil
	var errs []error
	for _, e := range entries {
		items, err := yaml.StringsOf(file, e.Key, e.Value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		agents := make([]string, len(items))
		for i, item := range items {
			agents[i] = item.Key
		}
		m, err := identity.NewMapping(e.Key, agents)
		if err != nil {
			errs = append(errs, yaml.ErrorAt(file, e.At, "identities", err.Error()))
			continue
		}
		o.Identity.Identities = append(o.Identity.Identities, m)
	}
	return errors.Join(errs...)
}

// setAllow reads who may send to whom; what it does not list is refused.
//
//	allow:
//	  - from: ["agent://partner/prod/*"]
//	    to: ["agent://acme/prod/billing"]
//	    types: ["order.*"]   # left out: every type
func setAllow(o *Options, file string, n ast.Node) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return fmt.Errorf("got %s, want a list of {from, to, types}", yaml.KindOf(n))
	}
	if len(list.Values) > rulesMost {
		return fmt.Errorf("%d entries, at most %d are read", len(list.Values), rulesMost)
	}
	o.Identity.Allow = identity.Policy{}
	var errs []error
	for _, v := range list.Values {
		r, err := parseRule(file, v)
		o.Identity.Allow, errs = append(o.Identity.Allow, r), append(errs, err)
	}
	return errors.Join(errs...)
}

func parseRule(file string, n ast.Node) (r identity.Rule, err error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return r, err
	}
	var errs []error
	for _, e := range entries {
		switch e.Key {
		case "from":
			r.From, err = grantsOf(file, e)
		case "to":
			r.To, err = grantsOf(file, e)
		case "types":
			r.Types, err = typesOf(file, e)
		default:
			err = yaml.ErrorAt(file, e.At, e.Key, "not a setting of a rule, want from, to and types")
		}
		errs = append(errs, err)
	}
	if (r.From == nil || r.To == nil) && errors.Join(errs...) == nil {
		errs = append(errs, yaml.ErrorAt(file, n.GetToken(), "allow", "a rule has from and to"))
	}
	return r, errors.Join(errs...)
}

func typesOf(file string, e yaml.Entry) (types []string, err error) {
	items, err := yaml.StringsOf(file, e.Key, e.Value)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, yaml.ErrorAt(file, e.Value.GetToken(), e.Key, "the list is empty: leave it out for every type")
	}
	var errs []error
	for _, item := range items {
		if err := identity.CheckType(item.Key); err != nil {
			errs = append(errs, yaml.ErrorAt(file, item.At, e.Key, err.Error()))
		}
		types = append(types, item.Key)
	}
	return types, errors.Join(errs...)
}

// openTrust reads the files of an identity: errors are of configuration.
func openTrust(o identity.Options, log *slog.Logger) (*identity.Trust, *keyringFile, error) {
	trust, err := identity.New(o, log)
	if err != nil {
		return nil, nil, err
	}
	keyring, err := openKeyring(o.Keyring, trust.SetKeys, log)
	return trust, keyring, err
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
// take it for.
func (p *Proxy) introduce(agents []string) {
	if !p.identified() || p.trust.Self() == "" {
		return
	}
	p.log.Info("identity", "peer", p.trust.Self())
	if strange := p.trust.Unspoken(agents); len(strange) > 0 {
		p.log.Warn("peers with the same settings will not take this sidecar for all of its agents", "peer", p.trust.Self(), "agent", strange[0], "more", len(strange)-1)
	}
}
