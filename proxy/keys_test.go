package proxy_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pannier/proxy"
)

const canary = "canary-0123456789abcdef"

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// What is wrong with a keys file is told with its place and without its text.
func TestKeysFileRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, yaml, want string }{
		{"empty", "", `1:1: the file is empty, want "keys:"`},
		{"another setting", "key:\n  - " + canary + "\n", `1:1: not a setting of a keys file, want "keys"`},
		{"a mapping", "keys: {" + canary + ": [a]}\n", `1:7: keys: got a mapping, want a list of {key or sha256, agents}`},
		{"keys alone", "keys: [" + canary + "]\n", `1:8: got a string, want {key or sha256, agents}`},
		{"not YAML", "keys: [\"" + canary + "\n", `1:8: not YAML as it is read here (not shown, it may hold a key)`},
		{"a tag", "keys:\n  - key: !" + canary + " x\n", `2:10: not YAML as it is read here (not shown, it may hold a key)`},
		{"a short key", "keys:\n  - {key: short, agents: [a]}\n", `2:11: key: must have 16 to 255 characters`},
		{"a number", "keys:\n  - {key: 1234567890123456, agents: [a]}\n", `2:11: key: got an integer, want a string: write it in quotes`},
		{"a space", "keys:\n  - {key: \"" + canary + " \", agents: [a]}\n", `2:11: key: must be visible ASCII without commas`},
		{"a comma", "keys:\n  - {key: \"" + canary + ",\", agents: [a]}\n", `2:11: key: must be visible ASCII without commas`},
		{"no hash", "keys:\n  - {sha256: " + canary + ", agents: [a]}\n", `2:14: sha256: must be the 64 hexadecimal digits of a SHA-256`},
		{"both", "keys:\n  - {key: " + canary + ", sha256: " + hashOf("x") + ", agents: [a]}\n", `2:5: keys: an entry has one of key and sha256`},
		{"neither", "keys:\n  - agents: [a]\n", `keys: an entry has one of key and sha256`},
		{"no agents", "keys:\n  - key: " + canary + "\n", `agents: an entry lists the agents its key is for`},
		{"an empty list", "keys:\n  - {key: " + canary + ", agents: []}\n", `2:44: agents: the list is empty: the key would be good for nothing`},
		{"one agent", "keys:\n  - {key: " + canary + ", agents: a}\n", `2:44: agents: got a string, want a list`},
		{"no address", "keys:\n  - {key: " + canary + ", agents: [a, \"" + canary + " x\"]}\n", `2:48: agents: not an address, "PREFIX/*" or "*"`},
		{"a pattern in the middle", "keys:\n  - {key: " + canary + ", agents: [\"a/*/b\"]}\n", `2:45: agents: not an address, "PREFIX/*" or "*"`},
		{"an unknown setting", "keys:\n  - {key: " + canary + ", agents: [a], " + canary + ": 1}\n", `2:49: not a setting of a key, want key or sha256, and agents`},
		{"the same key", "keys:\n  - {key: " + canary + ", agents: [a]}\n  - {sha256: " + hashOf(canary) + ", agents: [b]}\n", `3:5: keys: the same key as in line 2; one entry lists all its agents`},
		{"two faults", "keys:\n  - {key: short, agents: [a]}\n  - {key: " + canary + ", agents: []}\n", "3:44: agents: the list is empty"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k.yaml")
			write(t, path, row.yaml)
			_, err := proxy.OpenKeys(path, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got:  %v\nwant: %s", err, row.want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the complaint shows what may be a key: %v", err)
			}
		})
	}
}

func TestKeysFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "k.yaml")
	write(t, path, fmt.Sprintf("keys:\n  - key: old-0123456789abcdef\n    agents: [acme/prod/orders]\n  - sha256: %s\n    agents: [agent://acme/prod/orders, \"acme/prod/*\", \"*\"]\n", strings.ToUpper(hashOf("new-0123456789abcdef"))))
	f, err := proxy.OpenKeys(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][]string{
		"old-0123456789abcdef":         {"agent://acme/prod/orders"},
		"new-0123456789abcdef":         {"agent://acme/prod/orders", "agent://acme/prod/*", "*"},
		"":                             nil,
		"old-0123456789abcde":          nil,
		hashOf("new-0123456789abcdef"): nil,
	} {
		var got []string
		if c := proxy.Identify(f, key); c != nil {
			got = c.Agents
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

// A key that replaces another is valid from the moment the file says so, and
// the other until it no longer does; a broken edit changes nothing.
func TestKeysFileIsWatched(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "k.yaml")
	entry := func(key string) string { return "  - {key: " + key + ", agents: [a]}\n" }
	old, next := canary+"-old", canary+"-new"
	write(t, path, "keys:\n"+entry(old))
	var log journalOfLogs
	f, err := proxy.OpenKeys(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	valid := func(key string) bool { return proxy.Identify(f, key) != nil }

	write(t, path, "keys:\n"+entry(old)+entry(next))
	within(t, 10*time.Second, "both keys", func() bool { return valid(old) && valid(next) })
	before := len(log.String()) // a half-written file may have been complained of
	write(t, path, "keys:\n"+entry(next)+"  - {key: "+canary+"\n")
	within(t, 10*time.Second, "a complaint", func() bool {
		return strings.Contains(log.String()[before:], "API keys file is wrong, the last good one stays in force")
	})
	if !valid(old) || !valid(next) {
		t.Error("a broken edit changed what is valid")
	}
	write(t, path, "keys:\n"+entry(next))
	within(t, 10*time.Second, "the new key alone", func() bool { return !valid(old) && valid(next) })
	if strings.Contains(log.String(), canary) {
		t.Errorf("a key is in the log:\n%s", log.String())
	}
}

// Beyond loopback the app API asks for keys, or does not listen.
func TestKeysLetTheAPIListenBeyondLoopback(t *testing.T) {
	t.Parallel()
	o := proxy.DefaultOptions()
	o.API = "0.0.0.0:7400"
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "or set api_keys") {
		t.Errorf("without keys: got %v, want a refusal that names api_keys", err)
	}
	o.APIKeys = filepath.Join(t.TempDir(), "k.yaml")
	write(t, o.APIKeys, "keys: [{key: "+canary+", agents: [a]}]\n")
	if err := o.Validate(); err != nil {
		t.Errorf("with keys: %v", err)
	}
}
