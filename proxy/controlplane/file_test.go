package controlplane_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	runtime "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func openFile(t testing.TB, path string) *controlplane.File {
	t.Helper()
	f, err := controlplane.OpenFile(path, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// All that is wrong with a file is said at once, with its place.
func TestFileComplaints(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ text, want string }{
		"empty":             {"# nothing\n", `2:1: the file is empty, want "agents:"`},
		"unknown":           {"agent:\n  a: []\n", `1:1: agent: not a setting of a file of agents (did you mean "agents"?)`},
		"no mapping":        {"agents: [a]\n", `1:9: agents: got a list, want a mapping of addresses`},
		"bad address":       {"agents:\n  a//b: []\n", `2:3: a//b: "a//b" has an empty segment`},
		"twice":             {"agents:\n  a/b: []\n  agent://a/b: []\n", `3:3: agent://a/b: this address is listed twice, first in FILE:2`},
		"no endpoints":      {"agents:\n  a: x\n", `2:6: a: got a string, want {endpoints, policy} or a list of HOST:PORT`},
		"unknown of agent":  {"agents:\n  a: {endpoint: []}\n", `2:7: endpoint: not a setting of an agent (did you mean "endpoints"?)`},
		"no port":           {"agents:\n  a: [\"10.0.0.1\"]\n", `2:7: a: "10.0.0.1" is not HOST:PORT`},
		"everywhere":        {"agents:\n  a: [\"0.0.0.0:7401\"]\n", `a: "0.0.0.0:7401" is no address that can be dialed`},
		"endpoint twice":    {"agents:\n  a: [\"localhost:1\", \"127.0.0.1:1\"]\n", `a: 127.0.0.1:1 is listed twice`},
		"no address":        {"agents:\n  a: {endpoints: [{zone: b}]}\n", `endpoints: an endpoint has an address`},
		"health":            {"agents:\n  a: {endpoints: [{address: \"h:1\", health: sick}]}\n", `health: "sick"; use healthy, draining or unhealthy`},
		"priority":          {"agents:\n  a: {endpoints: [{address: \"h:1\", priority: 200}]}\n", `priority: 200; use 0 to 128, 0 first`},
		"of endpoint":       {"agents:\n  a: {endpoints: [{address: \"h:1\", zones: b}]}\n", `zones: not a setting of an endpoint (did you mean "zone"?)`},
		"policy":            {"agents:\n  a: {policy: {max_request: 3}}\n", `max_request: not a setting of a policy (did you mean "max_requests"?)`},
		"paused":            {"paused: maybe\n", `1:9: paused: got a string, want true or false`},
		"policies":          {"policies: {\"a/*\": {max_requests: 0}}\n", `max_requests: 0; use at least 1`},
		"several at a time": {"agents:\n  a: x\nx: y\n", `3:1: x: not a setting`},
	} {
		path := filepath.Join(t.TempDir(), "agents.yaml")
		write(t, path, row.text)
		_, err := controlplane.OpenFile(path, slog.New(slog.DiscardHandler))
		if want := strings.ReplaceAll(row.want, "FILE", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

// A file is followed; a bad edit leaves the last good state in force and is said.
func TestFileIsFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agents.yaml")
	write(t, path, `{"agents": {"agent://acme/prod/billing": {"endpoints": ["10.0.0.1:7401", {"address": "10.0.0.2:7402", "health": "draining"}]}}}`)
	plane := start(t, nil, openFile(t, path))
	c := plane.connect(&core.Node{Id: "c"})
	c.subscribe(mesh.TypeEndpoints, nil, mesh.Key(billing))
	if got := healths(t, c.next()); len(got) != 2 || got[7402] != core.HealthStatus_DRAINING {
		t.Errorf("at first %v, want two, 7402 draining", got)
	}
	write(t, path, "agents:\n  agent://acme/prod/billing: [\"10.0.0.3\"]\n")
	trouble := func() string {
		var answer struct{ Sources []struct{ Error string } }
		plane.get("/v1/admin/xds", &answer)
		return answer.Sources[0].Error
	}
	eventually(t, "the bad edit is shown", func() bool { return strings.Contains(trouble(), `"10.0.0.3" is not HOST:PORT`) })
	os.Remove(path)
	eventually(t, "that it is gone is shown", func() bool { return strings.Contains(trouble(), "no such file") })
	write(t, path, "agents:\n  agent://acme/prod/billing: [\"10.0.0.3:7403\"]\n")
	if got := healths(t, c.next()); len(got) != 1 || got[7403] != core.HealthStatus_HEALTHY {
		t.Errorf("mended: %v, want 7403 alone, and nothing between", got)
	}
	eventually(t, "nothing is wrong any more", func() bool { return trouble() == "" })
}

// A directory is one whole, also when Kubernetes swaps it by a link.
func TestDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put := func(version, file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, version, file), text)
	}
	swap := func(version string) {
		t.Helper()
		next := filepath.Join(root, "next")
		if err := os.Symlink(version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(root, "now")); err != nil {
			t.Fatal(err)
		}
	}
	put("1", "a.yaml", "agents:\n  agent://acme/prod/billing: [\"10.0.0.1:7401\"]\n")
	put("1", "b.json", `{"agents": {"agent://acme/prod/orders": ["10.0.0.2:7402"]}, "policies": {"*": {"paused": true}}}`)
	put("1", "notes.txt", "no agents here")
	put("1", ".a.yaml.swp", "agents: [")
	put("2", "b.yaml", "agents:\n  agent://acme/prod/orders: []\n")
	swap("1")
	plane := start(t, nil, openFile(t, filepath.Join(root, "now")))
	c := plane.connect(&core.Node{Id: "c"})
	c.subscribe(mesh.TypeEndpoints, nil, "*")
	if r := c.next(); len(r.GetResources()) != 2 {
		t.Errorf("at first %v, want both files' agents", r)
	}
	switches := plane.connect(&core.Node{Id: "switches"})
	switches.subscribe(mesh.TypeRuntime, nil, mesh.Runtime)
	layer := new(runtime.Runtime)
	if err := switches.next().GetResources()[0].GetResource().UnmarshalTo(layer); err != nil {
		t.Fatal(err)
	}
	if !mesh.ReadSwitches(layer).Paused(billing) {
		t.Errorf("%v, want all agents paused", layer)
	}
	swap("2")
	r := c.next() // orders has no endpoint
	for len(r.GetRemovedResources()) == 0 {
		r = c.next()
	}
	if r.GetRemovedResources()[0] != mesh.Key(billing) {
		t.Errorf("swapped: %v, want billing gone", r)
	}
}

// A directory that has lost all its files, as one that is not mounted, empties
// nothing, and the trouble is shown until they are back.
func TestEmptyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	text := "agents:\n  agent://acme/prod/billing: [\"10.0.0.1:7401\"]\n"
	write(t, file, text)
	source := openFile(t, dir)
	plane := start(t, nil, source)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "trouble", func() bool { return strings.Contains(source.Trouble(), "has no file of agents any more") })
	var answer struct{ Resources map[string]int }
	plane.get("/v1/admin/xds", &answer)
	if answer.Resources["clusters"] != 1 {
		t.Errorf("%v, want what was there", answer.Resources)
	}
	write(t, file, text)
	eventually(t, "no trouble", func() bool { return source.Trouble() == "" })
}

// What is gone before the first look is missed at the next, not when all is read again.
func TestEmptiedBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	write(t, file, "agents:\n  agent://acme/prod/billing: [\"10.0.0.1:7401\"]\n")
	source := openFile(t, dir)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := source.Run(ctx, func(controlplane.Update) {}); err != nil {
			t.Fatal(err)
		}
	})
	if got := source.Trouble(); !strings.Contains(got, "has no file of agents any more") {
		t.Errorf("after ten seconds: %q", got)
	}
}
