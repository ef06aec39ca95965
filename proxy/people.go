package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"pannier/proxy/crowd"
	"pannier/proxy/hostport"
	"pannier/proxy/pages"
	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

const (
	// maxPeople bounds the file: a token is compared with everybody's.
	maxPeople = 1000
	minEmail  = len("a@b")
	maxEmail  = 120 // of who is named in a timeline
	maxName   = 120

	// pageTimeout is what a browser has to send a form, and to be sent a page.
	pageTimeout = time.Minute
)

// PeopleOptions are of the listener for people who are not operators.
type PeopleOptions struct {
	People        string   // HOST:PORT; empty: there is none
	PeopleFile    string   // who they are
	PeopleURL     string   // where browsers find the listener; empty: at its own address
	PeopleHeader  string   // in which a proxy says whom it has logged in; empty: none does
	PeopleProxies []string // addresses and networks whose word on that is believed
}

// peopleFile is who may log in at the listener for people: a YAML file, watched.
//
//	people:
//	  - email: ann@acme.example
//	    name: Ann Lee                    # optional
//	    sha256: 9f86d0…                  # of her token; optional with people_header
//	    agents: [agent://acme/people/finance]
type peopleFile struct {
	watch.File
	roll atomic.Pointer[pages.Roll]
}

// openPeople reads the file for the first time, when an error is one of
// configuration. An empty path is no file, and lets nobody in.
func openPeople(o *PeopleOptions, log *slog.Logger) (*peopleFile, error) {
	f := &peopleFile{File: watch.File{Key: "people_file", Kind: "people file", Path: o.PeopleFile, Log: log}}
	f.roll.Store(pages.NewRoll(nil))
	proxied := o.PeopleHeader != ""
	f.Take = func(text []byte) ([]any, error) {
		people, err := parsePeople(f.Path, text, proxied)
		if err != nil {
			return nil, err
		}
		f.roll.Store(pages.NewRoll(people))
		return []any{"people", len(people)}, nil
	}
	return f, f.Open()
}

// parsePeople reads the content of a people file. All that is wrong is reported at once,
// with its place and never with the text there: it may be a token.
func parsePeople(file string, text []byte, proxied bool) ([]pages.Person, error) {
	top, err := yaml.ParseMapping(file, text)
	if err != nil {
		return nil, yaml.Hushed(err, "not YAML as it is read here (not shown, it may hold a token)")
	}
	if len(top) == 0 {
		// Half of a file that is just being written must not lock everybody out.
		return nil, &yaml.Error{File: file, Line: 1 + bytes.Count(text, []byte("\n")), Column: 1, Text: `the file is empty, want "people:"`}
	}
	var people []pages.Person
	var errs []error
	for _, e := range top {
		list, ok := e.Value.(*ast.SequenceNode)
		switch {
		case e.Key != "people":
			errs = append(errs, yaml.ErrorAt(file, e.At, "", `not a setting of a people file, want "people"`))
		case !ok:
			errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), "people", fmt.Sprintf("got %s, want a list of {email, sha256, agents}", yaml.KindOf(e.Value))))
		case len(list.Values) > maxPeople:
			errs = append(errs, yaml.ErrorAt(file, list.GetToken(), "people", fmt.Sprintf("%d entries, at most %d are read", len(list.Values), maxPeople)))
		default:
			var wrong []error
			people, wrong = peopleOf(file, list, proxied)
			errs = append(errs, wrong...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return people, nil
}

func peopleOf(file string, list *ast.SequenceNode, proxied bool) (people []pages.Person, errs []error) {
	emails, tokens := map[string]int{}, map[[sha256.Size]byte]int{}
	for _, n := range list.Values {
		p, err := parsePerson(file, n, proxied)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		at := n.GetToken()
		if first, twice := emails[p.Email]; twice {
			errs = append(errs, yaml.ErrorAt(file, at, "email", fmt.Sprintf("the same person as in line %d; one entry lists all their agents", first)))
			continue
		}
		if first, twice := tokens[p.Token]; twice && p.HasToken() {
			errs = append(errs, yaml.ErrorAt(file, at, "sha256", fmt.Sprintf("the same token as in line %d: nobody could tell them apart", first)))
			continue
		}
		emails[p.Email], tokens[p.Token] = at.Position.Line, at.Position.Line
		people = append(people, p)
	}
	return people, errs
}

// parsePerson reads one entry.
func parsePerson(file string, n ast.Node, proxied bool) (p pages.Person, err error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return p, yaml.Hushed(err, fmt.Sprintf("got %s, want {email, sha256, agents}", yaml.KindOf(n)))
	}
	var errs []error
	given := map[string]bool{}
	for _, e := range entries {
		given[e.Key] = true
		var why string
		switch e.Key {
		case "email":
			if p.Email, why = personText(e.Value, minEmail, maxEmail); why == "" && (strings.Count(p.Email, "@") != 1 || strings.ContainsAny(p.Email, " ,<>")) {
				why = "is no address of the form name@host"
			}
			p.Email = strings.ToLower(p.Email)
		case "name":
			p.Name, why = personText(e.Value, 1, maxName)
		case "sha256":
			p.Token, why = keyHash(e)
		case "agents":
			var list []error
			p.Agents, list = keyAgents(file, e)
			errs = append(errs, list...)
		default:
			errs = append(errs, yaml.ErrorAt(file, e.At, "", "not a setting of a person, want email, name, sha256 and agents"))
		}
		if why != "" {
			errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), e.Key, why))
		}
	}
	for _, must := range []struct{ key, why string }{
		{"email", "an entry says who it is"},
		{"agents", "an entry lists the agents that somebody acts for"},
		{"sha256", "nobody could log in by this entry: give the SHA-256 of a token, or set people_header"},
	} {
		if !given[must.key] && (must.key != "sha256" || !proxied) {
			errs = append(errs, yaml.ErrorAt(file, n.GetToken(), must.key, must.why))
		}
	}
	return p, errors.Join(errs...)
}

func personText(n ast.Node, least, most int) (text, why string) {
	s, ok := n.(*ast.StringNode)
	switch {
	case !ok:
		return "", fmt.Sprintf("got %s, want a string: write it in quotes", yaml.KindOf(n))
	case len(s.Value) < least || len(s.Value) > most:
		return "", fmt.Sprintf("must have %d to %d bytes", least, most)
	case strings.ContainsFunc(s.Value, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", "must be text that can be seen"
	}
	return s.Value, ""
}

// validate returns what is wrong with the options, with the file.
func (o *PeopleOptions) validate() error {
	if o.People == "" {
		for _, of := range []struct {
			key string
			set bool
		}{{"people_file", o.PeopleFile != ""}, {"people_url", o.PeopleURL != ""}, {"people_header", o.PeopleHeader != ""}, {"people_proxies", len(o.PeopleProxies) > 0}} {
			if of.set {
				return fmt.Errorf("%s: there is no listener it is for; set people to its HOST:PORT, or leave it out", of.key)
			}
		}
		return nil
	}
	var errs []error
	if err := hostport.Listen(o.People); err != nil {
		errs = append(errs, fmt.Errorf("people: %w", err))
	}
	if o.PeopleFile == "" {
		errs = append(errs, errors.New("people_file: empty while people is set, and nobody could log in; name the file that says who may"))
	}
	u, err := o.url()
	if err != nil {
		errs = append(errs, err)
	} else if !hostport.OnLoopback(o.People) && (u == nil || u.Scheme != "https") {
		errs = append(errs, fmt.Errorf("people_url: %s is beyond loopback, where tokens could be read on the way; set it to the https:// URL of what serves TLS in front of it", o.People))
	}
	proxies, err := o.proxies()
	if err != nil {
		errs = append(errs, err)
	}
	switch {
	case o.PeopleHeader == "":
	case strings.Trim(o.PeopleHeader, headerBytes) != "":
		errs = append(errs, fmt.Errorf("people_header: %q is no name of a header", o.PeopleHeader))
	case len(proxies) == 0 && err == nil:
		errs = append(errs, fmt.Errorf("people_proxies: empty while people_header is set, and anybody could say %s; list the addresses of the proxy that logs people in", o.PeopleHeader))
	}
	if _, err := openPeople(o, slog.New(slog.DiscardHandler)); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

const headerBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// url is where browsers find the listener; nil: nobody has said.
func (o *PeopleOptions) url() (*url.URL, error) {
	if o.PeopleURL == "" {
		return nil, nil
	}
	u, err := url.Parse(o.PeopleURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("people_url: %q; use https://HOST, without a path", o.PeopleURL)
	}
	if u.Scheme == "http" && !hostport.OnLoopback(net.JoinHostPort(u.Hostname(), "0")) {
		return nil, fmt.Errorf("people_url: %q; use https://, or whoever is on the way could read tokens", o.PeopleURL)
	}
	u.Path = ""
	return u, nil
}

func (o *PeopleOptions) proxies() (all []netip.Prefix, err error) {
	for _, text := range o.PeopleProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var one netip.Addr
			if one, err = netip.ParseAddr(text); err != nil || one.Zone() != "" {
				return nil, fmt.Errorf("people_proxies: %q; use an address, or a network such as 10.0.0.0/24", text)
			}
			p = netip.PrefixFrom(one, one.BitLen())
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("people_proxies: %q is everybody, who could then be anybody; list only what logs people in", text)
		}
		all = append(all, p)
	}
	return all, nil
}

// servePeople lets people in at a listener of their own.
func (r *run) servePeople() error {
	if r.peopleListener == nil {
		return nil
	}
	o := &r.opts.People
	u, err := o.url()
	if err != nil {
		return err
	}
	proxies, err := o.proxies()
	if err != nil {
		return err
	}
	people := &pages.People{Roll: r.people.roll.Load, URL: u, Hosts: r.hosts(), Header: o.PeopleHeader, Proxies: proxies}
	server := newHTTPServer(pages.New(pages.Options{App: r.parts.Load().api.Inside, People: people, Log: r.log}), r.log)
	server.ReadTimeout, server.WriteTimeout = pageTimeout, pageTimeout
	crowd.Serve(server)
	r.serveHTTP("people", server, r.peopleListener)
	return nil
}
