package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// neighbour answers what completion asks a sidecar.
func neighbour(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/intents":
			fmt.Fprint(w, `{"intents":[{"intent_id":"0199-a"},{"intent_id":"0199-b"},{"intent_id":"0200"}]}`)
		case deadPath:
			fmt.Fprint(w, `{"dead_letters":[{"intent_id":"dead"}]}`)
		case "/v1/admin/agents":
			fmt.Fprint(w, `{"agents":[{"agent":"agent://acme/prod/billing"},{"agent":"orders"}]}`)
		case "/v1/admin/peers":
			fmt.Fprint(w, `{"peers":[{"address":"10.0.0.7:7401","agents":["agent://acme/prod/stock","orders"]}]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestCompletion(t *testing.T) {
	addr := neighbour(t)
	t.Setenv("PANNIER_ADDR", addr)
	t.Setenv("PANNIER_ADMIN", addr)
	within := completeWithin
	defer func() { completeWithin = within }()
	completeWithin = time.Minute // a machine that is busy with others may not answer within a fifth of a second
	for _, row := range []struct{ words, want string }{
		{"wa", "wait watch"},
		{"dlq ", "list purge redrive show"},
		{"dlq sh", "show"},
		{"list --st", "--status"},
		{"list --status W", "WAITING"},
		{"list --status=W", "--status=WAITING"},
		{"get 0199", "0199-a 0199-b"},
		{"get 0199-a ", ""},
		{"wait 0199-a 02", "0200"},
		{"get -o json 02", "0200"},
		{"dlq show ", "dead"},
		{"agents set o", "orders"},
		{"agents set orders p", "poll"},
		{"send --to agent://acme/prod/", "agent://acme/prod/billing agent://acme/prod/stock"},
		{"breaker open ", "10.0.0.7:7401"},
		{"listen agent://acme/prod/b", "agent://acme/prod/billing"},
		{"listen -o q", "quiet"},
		{"status --color ", "always auto never"},
		{"list -o ", "json ndjson"},
		{"explain app_un", "app_unreachable"},
		{"nonsense ", ""},
		{"run --config ", ""}, // a file: the shell's own
	} {
		words := strings.Split(row.words, " ")
		got := pannier(t, "", append([]string{completeVerb}, words...)...)
		if all := strings.Join(strings.Fields(got.stdout), " "); got.exit != 0 || all != row.want {
			t.Errorf("%q: exit %d, %q, want %q", row.words, got.exit, all, row.want)
		}
	}
	// No sidecar, and one that hangs, are no candidates and no noise.
	completeWithin = within
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	for _, addr := range []string{"127.0.0.1:1", strings.TrimPrefix(hang.URL, "http://")} {
		began := time.Now()
		got := pannier(t, "", completeVerb, "get", "--addr", addr, "")
		if got.exit != 0 || got.stdout != "" || got.stderr != "" || time.Since(began) > 20*time.Second {
			t.Errorf("%s: %+v after %s", addr, got, time.Since(began))
		}
	}
}

// The script of bash gives the words to the program and the candidates to the shell, also of what
// has a colon in it, where bash splits words.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no bash")
	}
	dir := t.TempDir()
	shim := "#!/bin/sh\nprintf '<%s>' \"$@\" > " + dir + "/words\nprintf 'agent://acme/prod/billing\\nagent://acme/prod/stock\\n'\n"
	if err := os.WriteFile(filepath.Join(dir, "pannier"), []byte(shim), 0o700); err != nil {
		t.Fatal(err)
	}
	script := scripts["bash"] + `
COMP_LINE="pannier send --to agent://acme/prod/b" COMP_POINT=37
_pannier
printf '%s\n' "${COMPREPLY[@]}"
`
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "//acme/prod/billing\n//acme/prod/stock\n" {
		t.Errorf("%v: %s", err, out)
	}
	words, err := os.ReadFile(filepath.Join(dir, "words"))
	if want := "<__complete><send><--to><agent://acme/prod/b>"; err != nil || string(words) != want {
		t.Errorf("it was called with %s, %v; want %s", words, err, want)
	}
}
