package e2e_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keysFile writes an API keys file with an entry "KEY: AGENT" for each.
func keysFile(t testing.TB, path string, entries ...[2]string) {
	t.Helper()
	text := "keys:\n"
	for i, e := range entries {
		if i%2 == 0 {
			text += fmt.Sprintf("  - {key: %s, agents: [%q]}\n", e[0], e[1])
			continue
		}
		sum := sha256.Sum256([]byte(e[0]))
		text += fmt.Sprintf("  - {sha256: %s, agents: [%q]}\n", hex.EncodeToString(sum[:]), e[1])
	}
	replaceFile(t, path, []byte(text))
}

const planted = "canary-4d1f0b6c92e7"

// TestKeysAreSecret sends keys of all kinds, right and wrong, in every place
// they may be, and then looks for them: in every answer, in the log, in the
// journal, on the admin listener.
func TestKeysAreSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	good, old, wrong := planted+"-good", planted+"-old", planted+"-wrong"
	keysFile(t, path, [2]string{good, "agent://acme/prod/*"}, [2]string{old, shop})
	s := start(t, setup{name: "keyed", agents: []string{shop}, args: []string{"--api-keys", path}})
	var seen strings.Builder
	var minted string
	look := func(a answer, want int) answer {
		t.Helper()
		if a.err != nil || a.code != want {
			t.Fatalf("got %v, want %d", a, want)
		}
		for name, values := range a.header {
			fmt.Fprintln(&seen, name, values)
		}
		seen.Write(a.body)
		return a
	}
	call := func(want int, method, path string, body any, header ...string) answer {
		t.Helper()
		return look(s.call(method, path, body, header...), want)
	}

	call(401, "GET", "/v1/intents", nil)
	for _, key := range []string{wrong, good + "x", old[:len(old)-1], "axme_sa_" + planted, "Bearer " + good} {
		call(401, "GET", "/v1/intents", nil, "x-api-key", key)
		call(401, "POST", "/v1/intents", message(billing, map[string]any{}), "Authorization", "Bearer "+key+"x")
		call(401, "GET", "/nothing/"+base64.RawURLEncoding.EncodeToString([]byte("x")), nil, "x-api-key", key)
	}
	call(200, "GET", "/health", nil, "x-api-key", wrong)
	call(200, "GET", "/v1/intents", nil, "Authorization", "Bearer "+wrong+", Bearer "+good)
	var made struct {
		Account struct {
			ID string `json:"service_account_id"`
		} `json:"service_account"`
	}
	call(200, "POST", "/v1/service-accounts", map[string]any{"name": "worker"}, "x-api-key", good).into(t, &made)
	accounts := "/v1/service-accounts/" + made.Account.ID
	var key struct {
		Key struct {
			ID    string `json:"key_id"`
			Token string
		}
	}
	// The one answer that has a token.
	a := s.call("POST", accounts+"/keys", nil, "x-api-key", good)
	if a.code != 200 {
		t.Fatalf("make a key: %v", a)
	}
	a.into(t, &key)
	minted = key.Key.Token
	call(200, "POST", "/v1/intents", message(billing, map[string]any{}), "x-api-key", minted)
	call(403, "POST", "/v1/intents", message(billing, map[string]any{}, map[string]any{"from_agent": shop}), "x-api-key", minted)
	for _, p := range []string{accounts, "/v1/service-accounts", "/v1/agents", "/v1/mesh/agents", "/v1/mesh/events", "/v1/intents", agentPath(shop, ""), agentPath(shop, "/intents")} {
		call(200, "GET", p, nil, "x-api-key", good)
	}
	call(404, "GET", "/v1/service-accounts/"+planted[:8], nil, "x-api-key", good)

	// A bad edit and a good one.
	replaceFile(t, path, []byte("keys:\n  - {key: "+good+", agents: [\""+planted+" x\"]}\n  - "+wrong+"\n"))
	eventually(t, "a complaint about the bad edit", func() error {
		if !strings.Contains(s.stderr(), "the last good one stays in force") {
			return fmt.Errorf("not in the log")
		}
		return nil
	})
	call(200, "GET", "/v1/intents", nil, "x-api-key", old)
	keysFile(t, path, [2]string{good, "agent://acme/prod/*"})
	eventually(t, "the old key to be refused", func() error {
		if a := s.call("GET", "/v1/intents", nil, "x-api-key", old); a.code != 401 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})

	// What was made while running survives a kill, and so does its end.
	s.kill()
	s.start()
	call(200, "GET", "/v1/intents", nil, "x-api-key", minted)
	call(200, "POST", accounts+"/keys/"+key.Key.ID+"/revoke", nil, "x-api-key", good)
	call(401, "GET", "/v1/intents", nil, "x-api-key", minted)
	s.kill()
	s.start()
	call(401, "GET", "/v1/intents", nil, "x-api-key", minted)
	for _, p := range []string{"/metrics", "/readyz?verbose", "/v1/admin/agents", "/v1/admin/peers"} {
		seen.Write(s.operate("GET", p, nil).body)
	}

	secret := minted[strings.LastIndexByte(minted, '_')+1:]
	for where, text := range map[string]string{"an answer": seen.String(), "the log": s.stderr()} {
		for _, leak := range []string{planted, secret} {
			if i := strings.Index(text, leak); i >= 0 {
				t.Errorf("a key is in %s: …%.80s", where, text[max(0, i-40):])
			}
		}
	}
	files := 0
	err := filepath.Walk(s.dir, func(file string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		files++
		content, err := os.ReadFile(file)
		if strings.Contains(string(content), planted) || strings.Contains(string(content), secret) {
			t.Errorf("a key is in the journal: %s", file)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("read %d files of the journal: %v", files, err)
	}
}

// TestKilledAgentWaits: what is addressed to a killed agent stays with its
// sender, whoever asks for it, over kills of both sidecars, and goes on when the
// agent is resumed.
func TestKilledAgentWaits(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	holder.takeNothing(billing, 0)
	first := home.post(billing, map[string]any{"n": 1})
	it := holder.take1(billing, take{lease: 60})
	mesh := "/v1/mesh/agents/" + base64.RawURLEncoding.EncodeToString([]byte(billing))
	if a := holder.call("POST", mesh+"/kill", nil); a.code != 200 {
		t.Fatalf("kill: %v", a)
	}
	holder.ack(it, nil) // what it had it may answer
	home.status(first, "COMPLETED")
	var ids []string
	for i := range 5 {
		ids = append(ids, home.post(billing, map[string]any{"n": i}))
	}
	if _, a := holder.tryPost(message(shop, map[string]any{}, map[string]any{"from_agent": billing}), ""); a.code != 403 {
		t.Errorf("a killed agent sends: got %v, want 403", a)
	}
	for range 2 {
		holder.takeNothing(billing, 1)
		holder.kill()
		home.kill()
		home.start()
		holder.start()
	}
	for _, id := range ids {
		if got := home.get(id); terminal(got.Status) {
			t.Errorf("%s is %s while its agent is killed", id, got.Status)
		}
	}
	if a := holder.call("POST", mesh+"/resume", nil); a.code != 200 {
		t.Fatalf("resume: %v", a)
	}
	eventually(t, "everything to be handed over after the resume", func() error {
		for _, it := range holder.poll(billing, take{limit: 10, wait: 1, lease: 60}) {
			holder.ack(it, nil)
		}
		for _, id := range ids {
			if got := home.get(id); got.Status != "COMPLETED" {
				return fmt.Errorf("%s is %s", id, got.Status)
			}
		}
		return nil
	})
	for _, id := range ids {
		if n := home.why(id).Attempts.N; n != 0 {
			t.Errorf("%s has %d attempts, want none: a kill is not its fault", id, n)
		}
	}
}
