package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/hostport"
	"pannier/proxy/mesh"
)

const (
	// minTTL and maxTTL bound how long an answer is believed, whatever it says.
	minTTL = 5 * time.Second
	maxTTL = 30 * time.Second
	// lookupTimeout is for one name.
	lookupTimeout = 5 * time.Second
)

// DNS is the source of agents whose replicas a name lists: the A and AAAA records
// of a headless service with a fixed port, or its SRV records. It knows no zone, no
// draining and no policy. A name that does not exist, or has no records, is an
// agent that is nowhere; while the server does not answer, what it said last stays.
type DNS struct {
	names    []dnsName
	resolver *net.Resolver
	ttl      lowest
	log      *slog.Logger

	mu struct {
		sync.Mutex
		trouble string
	}
}

// dnsName is where to ask for one agent.
type dnsName struct {
	agent string
	host  string
	port  string // empty: SRV
}

// NewDNS takes AGENT=HOST:PORT, and AGENT=NAME for SRV records. The servers are
// those of the system, or the given one.
func NewDNS(server string, words []string, log *slog.Logger) (*DNS, error) {
	d := &DNS{log: log}
	for _, word := range words {
		agent, target, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("dns: %q; use AGENT=HOST:PORT, or AGENT=NAME of SRV records", word)
		}
		address, err := api.Address(agent)
		if err != nil {
			return nil, fmt.Errorf("dns: %w", err)
		}
		n := dnsName{agent: address, host: target}
		if strings.Contains(target, ":") {
			if err := hostport.Dial(target); err != nil {
				return nil, fmt.Errorf("dns: %w", err)
			}
			n.host, n.port, _ = net.SplitHostPort(target)
		}
		for _, other := range d.names {
			if other.agent == n.agent {
				return nil, fmt.Errorf("dns: %s is named twice", n.agent)
			}
		}
		d.names = append(d.names, n)
	}
	dialer := &net.Dialer{}
	d.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if server != "" {
			address = server
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if udp, ok := conn.(*net.UDPConn); ok {
			return &listening{udp, &d.ttl}, err
		}
		return conn, err
	}}
	return d, nil
}

// Name implements Source.
func (d *DNS) Name() string { return "dns" }

// Trouble implements Troubled.
func (d *DNS) Trouble() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.trouble
}

// Run implements Source. It has synced when each name has been answered once.
func (d *DNS) Run(ctx context.Context, report func(Update)) error {
	known := map[string]mesh.Service{}
	for {
		d.ttl.reset()
		var errs []error
		for _, n := range d.names {
			s, err := d.look(ctx, n)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				errs = append(errs, err)
				continue // what it said last stays
			}
			known[n.agent] = s
		}
		d.troubled(errors.Join(errs...))
		if len(known) == len(d.names) {
			var u Update
			for _, n := range d.names {
				u.Services = append(u.Services, known[n.agent])
			}
			report(u)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(d.ttl.within(minTTL, maxTTL)):
		}
	}
}

// look asks for one name.
func (d *DNS) look(ctx context.Context, n dnsName) (mesh.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	s := mesh.Service{Agent: n.agent, Endpoints: []outbound.Endpoint{}}
	add := func(host, port string) error {
		ips, err := d.resolver.LookupNetIP(ctx, "ip", host)
		if absent(err) {
			return nil
		}
		for _, ip := range ips {
			s.Endpoints = append(s.Endpoints, outbound.Endpoint{Address: mesh.Address(net.JoinHostPort(ip.Unmap().String(), port))})
		}
		return err
	}
	var err error
	if n.port != "" {
		err = add(n.host, n.port)
	} else {
		var records []*net.SRV
		if _, records, err = d.resolver.LookupSRV(ctx, "", "", n.host); absent(err) {
			err = nil
		}
		for _, r := range records {
			err = errors.Join(err, add(r.Target, strconv.Itoa(int(r.Port))))
		}
	}
	if err != nil {
		return s, fmt.Errorf("look up %s: %w", n.agent, err)
	}
	sortEndpoints(s.Endpoints)
	return s, nil
}

// absent reports whether the server says that there is no such record.
func absent(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

// troubled says once what is wrong.
func (d *DNS) troubled(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if text != "" && text != d.mu.trouble {
		d.log.Error("names are not answered, what was said last stays", "err", err)
	}
	d.mu.trouble = text
}

// lowest is the lowest TTL seen since reset.
type lowest struct {
	mu   sync.Mutex
	ttl  time.Duration
	seen bool
}

func (l *lowest) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = false
}

func (l *lowest) add(ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.seen || ttl < l.ttl {
		l.ttl, l.seen = ttl, true
	}
}

// within is the low bound when nothing was seen: then something is wrong, or new.
func (l *lowest) within(low, high time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.seen {
		return low
	}
	return min(max(l.ttl, low), high)
}

// listening is a resolver's socket that is read along: package net has the
// records and keeps their TTL to itself.
type listening struct {
	*net.UDPConn
	ttl *lowest
}

func (c *listening) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	var p dnsmessage.Parser
	if err != nil {
		return n, err
	}
	if _, bad := p.Start(b[:n]); bad != nil || p.SkipAllQuestions() != nil {
		return n, nil // the resolver will say what it thinks of it
	}
	for {
		h, bad := p.AnswerHeader()
		if bad != nil || p.SkipAnswer() != nil {
			return n, nil
		}
		c.ttl.add(time.Duration(h.TTL) * time.Second)
	}
}
