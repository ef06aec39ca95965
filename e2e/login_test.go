package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// peopleFile writes a people file with an entry for each: email, token, agent.
func peopleFile(t testing.TB, path string, people ...[3]string) {
	t.Helper()
	text := "people:\n"
	for _, p := range people {
		name := strings.ToUpper(p[0][:1]) + p[0][1:strings.IndexByte(p[0], '@')] + " Lee"
		text += fmt.Sprintf("  - {email: %q, name: %q, sha256: %x, agents: [%q]}\n", p[0], name, sha256.Sum256([]byte(p[1])), p[2])
	}
	replaceFile(t, path, []byte(text))
}

const (
	finance  = "agent://acme/people/finance"
	annToken = planted + "-ann"
	bobToken = planted + "-bob"
)

// TestPeopleInABrowser: people who are not operators log in, see what their agents are asked,
// decide, talk and log out; of two who decide at once the second hears of the first. PANNIER_SHOTS
// is a directory for what was seen. It runs alone, as TestPagesInABrowser does.
func TestPeopleInABrowser(t *testing.T) {
	needModules(t, "browser")
	chromium := "chromium"
	need(t, false, chromium)
	file := filepath.Join(t.TempDir(), "people.yaml")
	peopleFile(t, file, [3]string{"ann@acme.example", annToken, finance}, [3]string{"bob@acme.example", bobToken, "agent://acme/people/*"})
	home := newSidecar(t, setup{name: "home", agents: []string{shop}, args: []string{"--people", "127.0.0.1:0", "--people-file", file}})
	home.start()
	ask := func(to string) string {
		return home.post(to, map[string]any{"employee": "Ada Lovelace", "amount": 912.4}, map[string]any{"human_task": map[string]any{"title": "Approve the expense of Ada Lovelace"}})
	}
	approve, race := ask(finance), ask(finance)
	tasks, err := json.Marshal(map[string]any{
		"tokens":  map[string]string{"ann": annToken, "bob": bobToken},
		"approve": approve, "race": race, "look": ask(finance), "other": ask("agent://acme/people/board"),
	})
	if err != nil {
		t.Fatal(err)
	}
	shots := os.Getenv("PANNIER_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join("browser", "people.mjs"), "http://"+home.ready.People, shots)
	path, err := exec.LookPath(chromium)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cleanEnv(), "CHROMIUM="+path, "HOME="+t.TempDir())
	cmd.Stdin = bytes.NewReader(tasks)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in the browser: %v\n%s", err, tail(string(said), 6000))
	}
	for _, id := range []string{approve, race} {
		home.status(id, "COMPLETED")
		if a := home.call("GET", "/v1/intents/"+id+"/events", nil); !strings.Contains(string(a.body), `"actor":"ann@acme.example"`) {
			t.Errorf("the events of %s do not say who ended it: %s", id, a.body)
		}
	}
	if strings.Contains(home.stderr(), planted) {
		t.Error("a token is in the log")
	}
}

// TestPeopleListener: it shows nothing without a log-in, has no route of operators or apps, and
// hears of an edit of its file; it is off unless asked for.
func TestPeopleListener(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "people.yaml")
	peopleFile(t, file, [3]string{"ann@acme.example", annToken, finance})
	s := start(t, setup{name: "home", agents: []string{shop}, args: []string{
		"--people", "127.0.0.1:0", "--people-file", file, "--people-header", "X-Forwarded-Email", "--people-proxies", "127.0.0.1",
	}})
	id := s.post(finance, map[string]any{"n": 1}, map[string]any{"human_task": map[string]any{"title": "Refund?"}})
	base := "http://" + s.ready.People
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path, email string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if email != "" {
			r.Header.Set("X-Forwarded-Email", email)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/inbox", "/tasks/" + id} {
		if code := ask("GET", path, ""); code != http.StatusSeeOther {
			t.Errorf("%s before the log-in: %d", path, code)
		}
		if code := ask("GET", path, "Ann@acme.example"); code != http.StatusOK {
			t.Errorf("%s of whom the proxy logged in: %d", path, code)
		}
		if code := ask("GET", path, "eve@acme.example"); code != http.StatusForbidden {
			t.Errorf("%s of a stranger: %d", path, code)
		}
	}
	for _, path := range []string{"/intents", "/intents/" + id, "/metrics", "/v1/admin/status", "/v1/me/tasks", "/v1/intents/" + id, "/debug/pprof/"} {
		if code := ask("GET", path, "ann@acme.example"); code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
	peopleFile(t, file, [3]string{"bob@acme.example", bobToken, finance})
	eventually(t, "ann to be turned away", func() error {
		if code := ask("GET", "/inbox", "ann@acme.example"); code != http.StatusForbidden {
			return fmt.Errorf("%d", code)
		}
		return nil
	})
	if other := start(t, setup{name: "other", agents: []string{billing}}); other.ready.People != "" {
		t.Errorf("nobody asked for it, and it listens on %s", other.ready.People)
	}
}
