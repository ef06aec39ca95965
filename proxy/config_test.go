package proxy_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pannier/proxy"
	"pannier/proxy/yaml"
)

// Every message names file, line and column, and what to write instead.
func TestConfigRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, yaml, want string }{
		{"unknown key with a near one", "api: 127.0.0.1:1\npeeer: 127.0.0.1:2\n", `c.yaml:2:1: peeer: not a setting (did you mean "peer"?)`},
		{"spelling of the flag", "insecure-peer: true\n", `c.yaml:1:1: insecure-peer: not a setting (did you mean "insecure_peer"?)`},
		{"unknown key with no near one", "colour: red\n", `c.yaml:1:1: colour: not a setting`},
		{"integer for a string", "zone: 1\n", `c.yaml:1:7: zone: got an integer, want a string: write it in quotes`},
		{"list for a string", "journal: [a]\n", `c.yaml:1:10: journal: got a list, want a string`},
		{"string for a boolean", "insecure_peer: \"true\"\n", `c.yaml:1:16: insecure_peer: got a string, want true or false, without quotes`},
		{"string for an integer", "max_body: 1MiB\n", `c.yaml:1:11: max_body: got a string, want an integer: digits alone, without quotes or a unit`},
		{"octal", "max_body: 0o17\n", `c.yaml:1:11: max_body: 0o17 is not an integer in decimal`},
		{"fraction for an integer", "max_open: 1.5\n", `c.yaml:1:11: max_open: got a number, want an integer: digits alone, without quotes or a unit`},
		{"number without unit", "poll_lease: 30\n", `c.yaml:1:13: poll_lease: got an integer, want a duration such as "500ms", "30s" or "72h"`},
		{"unknown unit", "deadline: 30d\n", `c.yaml:1:11: deadline: "30d" is not a duration such as "500ms", "30s" or "72h"; the units are ms, s, m and h`},
		{"no value", "zone:\napi: 127.0.0.1:1\n", `c.yaml:1:1: zone: got nothing, want a string; or leave the key out`},
		{"one agent without a list", "agents: orders\n", `c.yaml:1:9: agents: got a string, want a list: [one, another]`},
		{"no binding at all", "agents: [orders=fax]\n", `c.yaml:1:10: agents: "fax" is not a binding: leave it out, or use orders=poll, =stream, =inbox or =http:URL`},
		{"a binding without a URL", "agents: [\"orders=http:localhost\"]\n", `c.yaml:1:10: agents: binding of orders: "localhost" is not an http:// or https:// URL; write it orders=http:http://127.0.0.1:PORT/PATH`},
		{"a URL for a host", "http_remote: [\"http://app\"]\n", `c.yaml:1:15: http_remote: "http://app" is not a host: write it without scheme, port and path`},
		{"a target that is told of nothing known", "notify: [{name: a, events: [created]}]\n", `c.yaml:1:29: events: "created" is none of assigned, delegated, reminded, escalated, decided, expired`},
		{"a header in an address", "notify: [{name: a, to: [\"a@b.c\\r\\nBcc: d@e.f\"]}]\n", `c.yaml:1:25: to: "a@b.c\r\nBcc: d@e.f" is not an address of the form name@domain`},
		{"a secret where it can be seen", "notify: [{name: a, secret: x}]\n", `c.yaml:1:20: secret: not a setting of a target`},
		{"the same key twice", "zone: a\nzone: b\n", `c.yaml:2:1: zone: given twice, first in line 1; take one of them out`},
		{"two documents", "zone: a\n---\nzone: b\n", `c.yaml:2:1: a second document: put everything into one`},
		{"a list at the top", "- a\n", `c.yaml:1:1: got a list, want settings of the form "key: value"`},
		{"anchor", "zone: &z a\npeers: *z\n", `c.yaml:1:7: "&": anchors, tags, merges and computed keys are not read here; write out what is meant`},
		{"tag", "zone: !!str 1\n", `c.yaml:1:7: "!!str": anchors, tags, merges and computed keys are not read here; write out what is meant`},
		{"not YAML", "zone: \"a\n", `c.yaml:1:7: the quote " that begins here is not closed`},
		{"all at once", "zonne: a\nmax_body: x\n", "c.yaml:1:1: zonne: not a setting (did you mean \"zone\"?)\nc.yaml:2:11: max_body: got a string, want an integer: digits alone, without quotes or a unit"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := proxy.DefaultOptions()
			err := proxy.ParseConfig("c.yaml", []byte(row.yaml), &o)
			if err == nil {
				t.Fatalf("accepted %q, want: %s", row.yaml, row.want)
			}
			if got := err.Error(); got != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, row.want)
			}
		})
	}
}

// A setting that is parsed into the wrong field, or into none, is found by
// setting each one to something that is not its default.
func TestConfigSetsEveryField(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, s := range proxy.Settings() {
		key := s.Key
		o, before := proxy.DefaultOptions(), proxy.DefaultOptions()
		var err error
		for _, value := range []string{"17", "17s", "true", "[orders=poll]", "[orders]", "{orders: {paused: true}}", "'quoted'", "{a.example: [orders]}", "[{from: [a], to: [b]}]", "[{name: a}]"} {
			if err = proxy.ParseConfig("c.yaml", []byte(key+": "+value+"\n"), &o); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("%s takes no value at all: %v", key, err)
			continue
		}
		changed := difference("", reflect.ValueOf(before), reflect.ValueOf(o))
		if len(changed) != 1 {
			t.Errorf("%s changes the fields %v, want one", key, changed)
			continue
		}
		if other, taken := seen[changed[0]]; taken {
			t.Errorf("%s and %s both set %s", key, other, changed[0])
		}
		seen[changed[0]] = key
		if flat := strings.ToLower(changed[0][strings.LastIndexByte(changed[0], '.')+1:]); flat != strings.ReplaceAll(key, "_", "") {
			t.Errorf("%s sets the field %s", key, changed[0])
		}
	}
}

// difference lists the fields in which two structs differ.
func difference(path string, a, b reflect.Value) []string {
	if a.Kind() != reflect.Struct || a.NumField() > 0 && !a.Type().Field(0).IsExported() {
		if reflect.DeepEqual(a.Interface(), b.Interface()) {
			return nil
		}
		return []string{path}
	}
	var all []string
	for i := range a.NumField() {
		all = append(all, difference(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))...)
	}
	return all
}

func TestConfigKeepsWhatItDoesNotName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pannier.yaml")
	content := "# a comment\nagents: [acme/prod/billing, orders=poll]\napi: \"127.0.0.1:0\"\ndrain_seconds: 30\nprobe_max: 1m\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	o := proxy.DefaultOptions()
	o.Zone = "from before"
	if _, err := proxy.LoadConfig(path, &o); err != nil {
		t.Fatal(err)
	}
	want := proxy.DefaultOptions()
	want.Zone, want.API, want.Limits.DrainSeconds, want.Limits.Inbound.ProbeMax = "from before", "127.0.0.1:0", 30, time.Minute
	want.Agents = []proxy.AgentOption{{Address: "agent://acme/prod/billing"}, {Address: "orders", Binding: "poll"}}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}
}

func TestConfigIsReadAsJSONToo(t *testing.T) {
	t.Parallel()
	o := proxy.DefaultOptions()
	if err := proxy.ParseConfig("c.json", []byte(`{"zone": "eu-1", "max_open": 5, "agents": ["orders"]}`), &o); err != nil {
		t.Fatal(err)
	}
	if o.Zone != "eu-1" || o.Limits.Inbound.MaxOpen != 5 || len(o.Agents) != 1 {
		t.Errorf("got zone %q, max_open %d, agents %v", o.Zone, o.Limits.Inbound.MaxOpen, o.Agents)
	}
}

func TestConfigAbsent(t *testing.T) {
	t.Parallel()
	o := proxy.DefaultOptions()
	_, err := proxy.LoadConfig(filepath.Join(t.TempDir(), "none.yaml"), &o)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"", "# nothing", "api: 127.0.0.1:7400\nagents: [a, b=poll]\nprobe_max: 1m\n", `{"max_body": 5}`, "a: [[[[", "- - - - -", "? a\n: b",
		"zone: |\n  text\n", "a: {b: {c: {}}}", "\ufeffzone: x", "zone: \"\\x41\"", "max_body: 0x7\n", "%YAML 1.2\n---\n", "zone: a\r\npeers: b\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		o := proxy.DefaultOptions()
		if err := proxy.ParseConfig("f", content, &o); err != nil {
			checkPlaces(t, err, content)
			return
		}
		again := proxy.DefaultOptions()
		if err := proxy.ParseConfig("f", content, &again); err != nil || !reflect.DeepEqual(o, again) {
			t.Errorf("read twice, got two things: %v", err)
		}
	})
}

// checkPlaces fails unless every complaint names a place within the file.
func checkPlaces(t *testing.T, err error, content []byte) {
	t.Helper()
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	lines := 1 + strings.Count(string(content), "\n") + strings.Count(string(content), "\r")
	for _, err := range all {
		var at *yaml.Error
		if !errors.As(err, &at) {
			t.Fatalf("%v names no place", err)
		}
		if at.Line < 1 || at.Line > lines || at.Column < 1 {
			t.Errorf("%v: the file has %d lines", err, lines)
		}
	}
}
