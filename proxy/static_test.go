package proxy_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pannier/outbound"
	"pannier/proxy"
)

func TestPeersFileRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, yaml, want string }{
		{"empty", "", `p.yaml:1:1: the file is empty, want "agents:"`},
		{"only a comment", "# later\n", `p.yaml:2:1: the file is empty, want "agents:"`},
		{"another key", "agent:\n  a: [\"h:1\"]\n", `p.yaml:1:1: agent: not a setting of a peers file, want "agents" or "policies"`},
		{"nothing below agents", "agents:\n", `p.yaml:1:9: agents: got nothing, want a mapping of addresses to lists of HOST:PORT`},
		{"a list of agents", "agents: [a]\n", `p.yaml:1:9: agents: got a list, want a mapping of addresses to lists of HOST:PORT`},
		{"one endpoint without a list", "agents:\n  a: h:1\n", `p.yaml:2:6: a: got a string, want a list`},
		{"a number for an endpoint", "agents:\n  a: [7401]\n", `p.yaml:2:7: a: got an integer in the list, want a string`},
		{"no port", "agents:\n  a: [\"h:1\"]\n  b: [\"10.0.0.7\"]\n", `p.yaml:3:7: b: "10.0.0.7" is not HOST:PORT`},
		{"port 0", "agents:\n  a: [\"h:0\"]\n", `p.yaml:2:7: a: "h:0" has no port from 1 to 65535`},
		{"no host", "agents:\n  a: [\":1\"]\n", `p.yaml:2:7: a: ":1" names no host`},
		{"a URL", "agents:\n  a: [\"http://h:1\"]\n", `p.yaml:2:7: a: "http://h:1" is not HOST:PORT`},
		{"the same endpoint twice", "agents:\n  a: [\"localhost:1\", \"127.0.0.1:1\"]\n", `p.yaml:2:22: a: 127.0.0.1:1 is listed twice`},
		{"no address", "agents:\n  \"a b\": []\n", `p.yaml:2:3: a b: "a b" is not an address: letters, digits and . _ ~ @ + - between slashes`},
		{"two spellings of one agent", "agents:\n  a/b: []\n  agent://a/b: []\n", `p.yaml:3:3: agent://a/b: this address is listed twice`},
		{"another key of an endpoint", "agents:\n  a: [{addres: \"h:1\"}]\n", `p.yaml:2:8: addres: not a setting of an endpoint (did you mean "address"?)`},
		{"an endpoint of no address", "agents:\n  a: [{zone: z}]\n", `p.yaml:2:7: a: an endpoint has an address`},
		{"no health", "agents:\n  a: [{address: \"h:1\", health: ill}]\n", `p.yaml:2:32: health: "ill"; use healthy, draining or unhealthy`},
		{"no priority", "agents:\n  a: [{address: \"h:1\", priority: 999}]\n", `p.yaml:2:34: priority: 999; use 0 to 128, 0 first`},
		{"a policy of nobody", "agents: {}\npolicies:\n  \"a b\": {}\n", `p.yaml:3:3: a b: "a b" is not an address: letters, digits and . _ ~ @ + - between slashes`},
		{"two errors", "agents:\n  a: x\n  b: y\n", "p.yaml:2:6: a: got a string, want a list\np.yaml:3:6: b: got a string, want a list"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := proxy.ParsePeers("p.yaml", []byte(row.yaml))
			if err == nil {
				t.Fatalf("accepted as %v, want: %s", got, row.want)
			}
			if err.Error() != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", err, row.want)
			}
		})
	}
}

func TestPeersFileForms(t *testing.T) {
	t.Parallel()
	want := map[string][]outbound.Endpoint{"agent://acme/prod/billing": {{Address: "10.0.0.7:7401"}, {Address: "127.0.0.1:7401"}}, "orders": {}}
	for _, content := range []string{
		"agents:\n  agent://acme/prod/billing: [10.0.0.7:7401, localhost:7401]\n  orders: []\n",
		"agents:\n  acme/prod/billing:\n    - \"10.0.0.7:7401\"\n    - LOCALHOST:7401 # ours\n  orders: []\n",
		`{"agents":{"agent://acme/prod/billing":["10.0.0.7:7401","127.0.0.1:7401"],"orders":[]}}`,
	} {
		got, err := proxy.ParsePeers("p", []byte(content))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %v, %v\nwant %v", content, got, err, want)
		}
	}
}

// TestPeersFileSays: what discovery would say of an endpoint, and policies, are in
// the file, and a change of it is one of the directory.
func TestPeersFileSays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "peers.yaml")
	content := "agents:\n  " + billing + ":\n    - {address: \"10.0.0.7:1\", zone: a, priority: 2, subset: canary, health: draining}\n"
	write(t, path, content+"policies:\n  acme/prod/*: {max_requests: 3}\n")
	d := proxy.StartDirectory(t, path, t.Output())
	want := outbound.Endpoint{Address: "10.0.0.7:1", Zone: "a", Priority: 2, Subset: "canary", Health: outbound.Draining}
	if eps, _ := d.Endpoints(billing); len(eps) != 1 || eps[0] != want {
		t.Errorf("got %+v, want %+v", eps, want)
	}
	if got := d.Policy(billing).MaxRequests; got != 3 {
		t.Errorf("max_requests %d, want 3", got)
	}
	changed := d.Changed()
	write(t, path, content+"policies:\n  \"*\": {paused: true}\n")
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Fatal("the change was not seen")
	}
	within(t, time.Minute, "paused", func() bool { return d.Policy(billing).Paused })
}

func FuzzPeersFile(f *testing.F) {
	for _, seed := range []string{
		"agents: {}", "agents:\n  a: [\"h:1\"]\n  b/c:\n  - 10.0.0.7:7401\n", `{"agents":{"x":["[::1]:7401"]}}`, "agents:\n  a: [h:1", "agents: {a: {b: []}}",
		"agents:\n\ta: []", "", "agents:\n  ? a\n  : []\n", "agents:\n  - - - -", strings.Repeat("[", 100), "agents: &a\n  b: *a\n", "agents:\n  \"\\u0061\": ['h:1']\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		agents, err := proxy.ParsePeers("f", content)
		if err != nil {
			checkPlaces(t, err, content)
			return
		}
		// What was read, written plainly, is read as the same.
		var plain strings.Builder
		plain.WriteString("agents: {")
		for agent, endpoints := range agents {
			plain.WriteString("\n  \"" + agent + "\": [")
			for _, e := range endpoints {
				fmt.Fprintf(&plain, "{address: %q, zone: %q, priority: %d, subset: %q, health: %v}, ", e.Address, e.Zone, e.Priority, e.Subset, e.Health)
			}
			plain.WriteString("],")
		}
		plain.WriteString("\n}\n")
		again, err := proxy.ParsePeers("again", []byte(plain.String()))
		if err != nil || !reflect.DeepEqual(agents, again) {
			t.Errorf("%q\nread as %v; written again it is %v, %v", content, agents, again, err)
		}
	})
}

// journalOfLogs keeps what was logged.
type journalOfLogs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *journalOfLogs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *journalOfLogs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const billing = "agent://acme/prod/billing"

func peersAt(endpoints ...string) string {
	return "agents:\n  " + billing + ": [\"" + strings.Join(endpoints, "\", \"") + "\"]\n"
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// within waits for a condition of another goroutine.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func endpoints(d proxy.Directory) string {
	eps, known := d.Endpoints(billing)
	if !known {
		return "unknown"
	}
	var all []string
	for _, e := range eps {
		all = append(all, e.Address)
	}
	return strings.Join(all, " ")
}

// Each way in which a file is replaced in practice, and what a bad one does.
func TestPeersFileIsWatched(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		setup func(t *testing.T, dir string) string // returns the path to watch
		next  func(t *testing.T, dir, path, content string)
	}{
		{"edited in place", plainFile, func(t *testing.T, _, path, content string) { write(t, path, content) }},
		{"replaced by rename", plainFile, func(t *testing.T, _, path, content string) {
			write(t, path+".new", content)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}},
		{"removed and made again", plainFile, func(t *testing.T, _, path, content string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, content)
		}},
		{"swapped behind a symlink, as a ConfigMap", configMap, func(t *testing.T, dir, _, content string) { swapConfigMap(t, dir, content) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := row.setup(t, dir)
			var log journalOfLogs
			d := proxy.StartDirectory(t, path, &log)
			if got := endpoints(d); got != "h:1" {
				t.Fatalf("at the start: %q, want h:1", got)
			}
			changed := d.Changed()
			row.next(t, dir, path, peersAt("h:2", "h:3"))
			within(t, 10*time.Second, "the new endpoints", func() bool { return endpoints(d) == "h:2 h:3" })
			select {
			case <-changed:
			case <-time.After(10 * time.Second):
				t.Fatal("nobody was told of the change")
			}

			changed = d.Changed()
			row.next(t, dir, path, "agents:\n  "+billing+": [\"h:4\", 5]\n")
			within(t, 10*time.Second, "a complaint with the place", func() bool { return strings.Contains(log.String(), "peers.yaml:2:38: ") })
			if got := endpoints(d); got != "h:2 h:3" {
				t.Errorf("after a broken edit: %q, want the last good one, h:2 h:3", got)
			}
			select {
			case <-changed:
				t.Error("a broken edit was announced as a change")
			default:
			}

			row.next(t, dir, path, peersAt("h:6"))
			within(t, 10*time.Second, "the mended endpoints", func() bool { return endpoints(d) == "h:6" })
		})
	}
}

func plainFile(t *testing.T, dir string) string {
	path := filepath.Join(dir, "peers.yaml")
	write(t, path, peersAt("h:1"))
	return path
}

// configMap lays out a volume as Kubernetes does: peers.yaml → ..data/peers.yaml,
// ..data → a directory per version.
func configMap(t *testing.T, dir string) string {
	swapConfigMap(t, dir, peersAt("h:1"))
	path := filepath.Join(dir, "peers.yaml")
	if err := os.Symlink(filepath.Join("..data", "peers.yaml"), path); err != nil {
		t.Fatal(err)
	}
	return path
}

func swapConfigMap(t *testing.T, dir, content string) {
	t.Helper()
	version, err := os.MkdirTemp(dir, "..version")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(version, "peers.yaml"), content)
	next := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestPeersFileGoneKeepsTheLast(t *testing.T) {
	t.Parallel()
	path := plainFile(t, t.TempDir())
	var log journalOfLogs
	d := proxy.StartDirectory(t, path, &log)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "a complaint", func() bool { return strings.Contains(log.String(), "cannot be read") })
	if got := endpoints(d); got != "h:1" {
		t.Errorf("got %q, want h:1", got)
	}
	write(t, path, peersAt("h:2"))
	within(t, 10*time.Second, "the file that came back", func() bool { return endpoints(d) == "h:2" })
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d complaints about one absence:\n%s", n, log.String())
	}
}

// A sidecar may share one peers file with all others: its own line means that
// it serves the agent itself.
func TestPeersFileKnowsItself(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, content, self, endpoints string
		elsewhere                      bool
	}{
		{"not listed", peersAt("h:1"), "127.0.0.1:7401", "h:1", true},
		{"one of two", peersAt("h:1", "127.0.0.1:7401"), "127.0.0.1:7401", "h:1", false},
		{"alone, by another spelling", peersAt("localhost:7401"), "127.0.0.1:7401", "", false},
		{"same host, other port", peersAt("127.0.0.1:7501"), "127.0.0.1:7401", "127.0.0.1:7501", true},
		{"agent without endpoints", "agents:\n  " + billing + ": []\n", "127.0.0.1:7401", "", false},
		{"other agents only", "agents: {}\n", "127.0.0.1:7401", "", false},
	} {
		path := filepath.Join(t.TempDir(), "peers.yaml")
		write(t, path, row.content)
		d := proxy.StartDirectory(t, path, &journalOfLogs{}, row.self)
		if got := endpoints(d); got != row.endpoints {
			t.Errorf("%s: endpoints %q, want %q", row.name, got, row.endpoints)
		}
		if got, known := d.Elsewhere(billing); got != row.elsewhere || !known {
			t.Errorf("%s: elsewhere %v (known %v), want %v", row.name, got, known, row.elsewhere)
		}
	}
}

func TestNoPeersFileIsKnownAndEmpty(t *testing.T) {
	t.Parallel()
	d := proxy.StartDirectory(t, "", &journalOfLogs{})
	if got := endpoints(d); got != "" {
		t.Errorf("endpoints %q, want none, and known", got)
	}
	select {
	case <-d.Changed():
		t.Error("changed without a file")
	default:
	}
}
