package pages

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"pannier/proxy/api"
)

// Person is one who may log in.
type Person struct {
	Email  string // in lower case: who they are, in logs and to a proxy
	Name   string // what they are called; empty: by their address
	Token  [sha256.Size]byte
	Agents []string // whom they act for: addresses and patterns, as a Caller has them
}

// HasToken reports whether they can log in by themselves; else only a proxy lets them in.
func (p *Person) HasToken() bool { return p.Token != [sha256.Size]byte{} }

// mark changes with all that a session stands for. Whom somebody acts for is not of it:
// that is looked up at each request.
func (p *Person) mark() [sha256.Size]byte {
	return sha256.Sum256([]byte(p.Email + "\x00" + p.Name + "\x00" + string(p.Token[:])))
}

// Roll is a list of people that does not change.
type Roll struct {
	people  []Person
	byEmail map[string]*Person
	byMark  map[[sha256.Size]byte]*Person
	tokens  bool // somebody has one
}

// NewRoll is the roll of people, no two of whom have an address or a token in common.
func NewRoll(people []Person) *Roll {
	r := &Roll{people: people, byEmail: map[string]*Person{}, byMark: map[[sha256.Size]byte]*Person{}}
	for i := range people {
		p := &people[i]
		r.byEmail[p.Email], r.byMark[p.mark()] = p, p
		r.tokens = r.tokens || p.HasToken()
	}
	return r
}

// Len is how many are on it.
func (r *Roll) Len() int { return len(r.people) }

// byToken compares with the token of everybody, so that the time it takes says nothing.
func (r *Roll) byToken(token string) *Person {
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i := range r.people {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], r.people[i].Token[:]), i, found)
	}
	if found < 0 || !r.people[found].HasToken() {
		return nil
	}
	return &r.people[found]
}

// People are those for whom a listener is, and how they show who they are.
type People struct {
	Roll func() *Roll // as it is now
	// URL is where browsers find the listener; nil: at its own address.
	URL *url.URL
	// Hosts are names, beside loopback's and literal addresses, under which it may be asked.
	Hosts []string

	// Header has the address of who asks, from Proxies: they have logged them in, and
	// let no header of that name through. Empty: none is believed.
	Header  string
	Proxies []netip.Prefix
}

// secure reports whether browsers are to send our cookies over TLS only.
func (p *People) secure() bool { return p.URL != nil && p.URL.Scheme == "https" }

// isProxy reports whether a request came straight from one of the proxies.
func (p *People) isProxy(addr netip.Addr) bool {
	return addr.IsValid() && slices.ContainsFunc(p.Proxies, func(of netip.Prefix) bool { return of.Contains(addr) })
}

// nextTo is the address of whoever is connected to us.
func nextTo(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

const maxHops = 16 // of a X-Forwarded-For that are looked at

// from is the address a request comes from: what stands behind our proxies, as far as
// those say so themselves.
func (p *People) from(r *http.Request) netip.Addr {
	at := nextTo(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= max(0, len(hops)-maxHops) && p.isProxy(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap().WithZone("")
	}
	return at
}

// expects reports whether a request is for a name of this listener: another site can point
// its own name at our address, but not make it one of ours. A proxy may ask by any, but for
// one on loopback: what comes from there may be a browser that such a site has misled, and
// which would be believed whom it names.
func (p *People) expects(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return host == "localhost" || net.ParseIP(host) != nil || slices.Contains(p.Hosts, host) ||
		p.URL != nil && host == strings.ToLower(p.URL.Hostname()) || p.isProxy(nextTo(r)) && !nextTo(r).IsLoopback()
}

// warnEvery bounds what strangers can write into the log.
const warnEvery = time.Minute

// proxied is whom a proxy has logged in: nil, nil is nobody.
func (s *server) proxied(r *http.Request) (*Person, error) {
	p := s.People
	if p.Header == "" {
		return nil, nil
	}
	said := r.Header.Values(p.Header)
	if len(said) == 0 {
		return nil, nil
	}
	if at := nextTo(r); !p.isProxy(at) {
		if now := time.Now().UnixNano(); now-s.warned.Load() > int64(warnEvery) {
			s.warned.Store(now)
			s.Log.Warn("header of the login proxy ignored: it came from elsewhere", "remote", r.RemoteAddr, "header", p.Header)
		}
		return nil, nil
	}
	email := lower(strings.TrimSpace(said[0]))
	if len(said) > 1 || strings.Contains(email, ",") {
		return nil, &refused{Status: http.StatusForbidden, Detail: "The proxy that logs people in names more than one. Nothing was done."}
	}
	person := p.Roll().byEmail[email]
	if person == nil {
		s.Log.Warn("person not let in: not on the roll", "actor", clipped(email), "remote", p.from(r).String())
		return nil, &refused{Status: http.StatusForbidden, Detail: "You are logged in as " + clipped(email) + ", who is not on the list of this sidecar. Ask those who run it."}
	}
	return person, nil
}

// lower is ASCII's: of other letters several become one, such as the Kelvin sign a k, and an
// address would be somebody else's.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func clipped(s string) string {
	const most = 120
	s, _ = cut(s, most)
	return s
}

// visitor is who asks; nil: nobody yet, and they were told so.
func (s *server) visitor(w http.ResponseWriter, r *http.Request) *visitor {
	now := time.Now()
	if s.People == nil {
		v := &visitor{name: operator, session: operator, admin: true, now: now, remote: r.RemoteAddr}
		v.formToken = s.forms.token(v.session)
		return v
	}
	person, err := s.proxied(r)
	session, key := "", sessionKey{}
	switch {
	case err != nil:
		s.fail(w, r, nil, err)
		return nil
	case person != nil:
		session = "proxy\x00" + person.Email
	default:
		if person, key = s.loggedIn(r, now); person == nil {
			s.sendToLogin(w, r)
			return nil
		}
		session = string(key[:])
	}
	return &visitor{
		name: person.Email, called: cmp.Or(person.Name, person.Email),
		caller:  &api.Caller{Agents: person.Agents, Person: person.Email},
		session: session, formToken: s.forms.token(session), key: key,
		now: now, remote: s.People.from(r).String(),
	}
}
