package proxy_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pannier/proxy"
)

// What is wrong with a people file is told with its place and without its text.
func TestPeopleFileRefusals(t *testing.T) {
	t.Parallel()
	hash := hashOf(canary)
	for _, row := range []struct{ name, yaml, want string }{
		{"empty", "", `1:1: the file is empty, want "people:"`},
		{"another setting", "persons: []\n", `1:1: not a setting of a people file, want "people"`},
		{"a mapping", "people: {" + canary + ": [a]}\n", `1:9: people: got a mapping, want a list of {email, sha256, agents}`},
		{"people alone", "people: [" + canary + "]\n", `1:10: got a string, want {email, sha256, agents}`},
		{"not YAML", "people: [\"" + canary + "\n", `not YAML as it is read here (not shown, it may hold a token)`},
		{"the token itself", "people:\n  - {email: a@b, token: " + canary + ", agents: [a]}\n", `2:18: not a setting of a person, want email, name, sha256 and agents`},
		{"the token as its hash", "people:\n  - {email: a@b, sha256: " + canary + ", agents: [a]}\n", `2:26: sha256: must be the 64 hexadecimal digits of a SHA-256`},
		{"no token", "people:\n  - {email: a@b, agents: [a]}\n", `sha256: nobody could log in by this entry: give the SHA-256 of a token, or set people_header`},
		{"no email", "people:\n  - {sha256: " + hash + ", agents: [a]}\n", `email: an entry says who it is`},
		{"no agents", "people:\n  - {email: a@b, sha256: " + hash + "}\n", `agents: an entry lists the agents that somebody acts for`},
		{"an empty list", "people:\n  - {email: a@b, sha256: " + hash + ", agents: []}\n", `agents: the list is empty`},
		{"no address", "people:\n  - {email: " + canary + ", sha256: " + hash + ", agents: [a]}\n", `2:13: email: is no address of the form name@host`},
		{"an address with a name", "people:\n  - {email: \"A <a@b>\", sha256: " + hash + ", agents: [a]}\n", `2:13: email: is no address of the form name@host`},
		{"a number", "people:\n  - {email: 1, sha256: " + hash + ", agents: [a]}\n", `2:13: email: got an integer, want a string`},
		{"a name with a control", "people:\n  - {email: a@b, name: \"a\\x07\", sha256: " + hash + ", agents: [a]}\n", `name: must be text that can be seen`},
		{"the same person", "people:\n  - {email: a@b, sha256: " + hash + ", agents: [a]}\n  - {email: A@B, sha256: " + hashOf("x") + ", agents: [b]}\n", `3:5: email: the same person as in line 2`},
		{"the same token", "people:\n  - {email: a@b, sha256: " + hash + ", agents: [a]}\n  - {email: c@d, sha256: " + hash + ", agents: [b]}\n", `3:5: sha256: the same token as in line 2`},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.yaml")
			write(t, path, row.yaml)
			_, err := proxy.OpenPeople(&proxy.PeopleOptions{PeopleFile: path}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got:  %v\nwant: %s", err, row.want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the complaint shows what may be a token: %v", err)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "p.yaml")
	write(t, path, "people: [{email: a@b, agents: [a]}, {email: c@d, agents: [a, \"b/*\"]}]\n")
	if f, err := proxy.OpenPeople(&proxy.PeopleOptions{PeopleFile: path, PeopleHeader: "X-Forwarded-Email"}, slog.New(slog.DiscardHandler)); err != nil || proxy.OnRoll(f) != 2 {
		t.Errorf("people without tokens behind a proxy: %v", err)
	}
}

// An edit acts at once, and a broken one changes nothing.
func TestPeopleFileIsWatched(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.yaml")
	const one = "people:\n  - {email: a@b, sha256: "
	write(t, path, one+hashOf("a")+", agents: [a]}\n")
	var log journalOfLogs
	f, err := proxy.OpenPeople(&proxy.PeopleOptions{PeopleFile: path}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	write(t, path, one+"x")
	within(t, 10*time.Second, "a complaint", func() bool {
		return strings.Contains(log.String(), "people file is wrong, the last good one stays in force")
	})
	if proxy.OnRoll(f) != 1 {
		t.Error("a broken edit changed who may log in")
	}
	write(t, path, "people: []\n")
	within(t, 10*time.Second, "nobody", func() bool { return proxy.OnRoll(f) == 0 })
}

// What would let in whom nobody means to, or nobody, is refused at the start.
func TestPeopleOptions(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.yaml")
	write(t, file, "people: [{email: a@b, sha256: "+hashOf("a")+", agents: [a]}]\n")
	good := proxy.PeopleOptions{People: "127.0.0.1:7404", PeopleFile: file}
	for _, row := range []struct {
		name, want string // empty: it is good
		spoil      func(*proxy.PeopleOptions)
	}{
		{"on loopback", "", func(*proxy.PeopleOptions) {}},
		{"behind TLS", "", func(o *proxy.PeopleOptions) { o.People, o.PeopleURL = ":7404", "https://approvals.example/" }},
		{"behind a proxy", "", func(o *proxy.PeopleOptions) {
			o.PeopleHeader, o.PeopleProxies = "X-Forwarded-Email", []string{"10.0.0.1", "fd00::/8"}
		}},
		{"no file", "people_file: empty while people is set", func(o *proxy.PeopleOptions) { o.PeopleFile = "" }},
		{"a file that is not there", "people_file: ", func(o *proxy.PeopleOptions) { o.PeopleFile += "x" }},
		{"no port", "people: ", func(o *proxy.PeopleOptions) { o.People = "here" }},
		{"beyond loopback", "people_url: :7404 is beyond loopback", func(o *proxy.PeopleOptions) { o.People = ":7404" }},
		{"beyond loopback in plain text", "people_url: 10.0.0.1:7404 is beyond loopback", func(o *proxy.PeopleOptions) { o.People, o.PeopleURL = "10.0.0.1:7404", "http://localhost" }},
		{"a plain URL", `people_url: "http://approvals.example"; use https://`, func(o *proxy.PeopleOptions) { o.PeopleURL = "http://approvals.example" }},
		{"a path", "people_url: ", func(o *proxy.PeopleOptions) { o.PeopleURL = "https://approvals.example/x" }},
		{"no URL", "people_url: ", func(o *proxy.PeopleOptions) { o.PeopleURL = "approvals.example" }},
		{"a header from anywhere", "people_proxies: empty while people_header is set, and anybody could say X-Email", func(o *proxy.PeopleOptions) { o.PeopleHeader = "X-Email" }},
		{"a header that is none", `people_header: "X Email" is no name`, func(o *proxy.PeopleOptions) { o.PeopleHeader, o.PeopleProxies = "X Email", []string{"10.0.0.1"} }},
		{"a proxy that is none", `people_proxies: "proxy"; use an address`, func(o *proxy.PeopleOptions) { o.PeopleProxies = []string{"proxy"} }},
		{"everybody", `people_proxies: "0.0.0.0/0" is everybody`, func(o *proxy.PeopleOptions) { o.PeopleProxies = []string{"0.0.0.0/0"} }},
		{"a file for nobody", "people_file: there is no listener it is for", func(o *proxy.PeopleOptions) { o.People = "" }},
		{"a header for nobody", "people_header: there is no listener it is for", func(o *proxy.PeopleOptions) { o.People, o.PeopleFile, o.PeopleHeader = "", "", "X-Email" }},
	} {
		o := proxy.DefaultOptions()
		o.People = good
		row.spoil(&o.People)
		err := o.Validate()
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}
