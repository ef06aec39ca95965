package proxy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pannier/proxy"
)

// What can change in a running sidecar does; what cannot is named; a flag beats the file as it
// did at the start; and a file that is wrong anywhere changes nothing.
func TestConfigEdited(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Config, o.Zone, o.MaxBody, o.Given = "c.yaml", "flag", 77, []string{"zone", "max_body", "api", "peer", "admin", "journal"}
	f := proxy.OpenConfigFile(o)
	const agent = "agent://acme/prod/billing"
	base := "zone: file\n"
	for _, row := range []struct {
		name, text, detail, err string
		retry                   time.Duration
		paused                  bool
	}{
		{"nothing new", base, "", "", 5 * time.Minute, false},
		{"live", base + "retry_max: 9s\npolicies: {\"*\": {paused: true}}\n", "", "", 9 * time.Second, true},
		{"wrong in one place", base + "retry_max: 8s\nlearn: perhaps\n", "the file is wrong", `learn: "perhaps"`, 9 * time.Second, true},
		{"not read at all", "retry_max: [\n", "the file is wrong", "c.yaml:1", 9 * time.Second, true},
		{"not live", base + "max_open: 5\nagents: [orders]\nallow: []\n", "", "nothing proves who a peer is", 9 * time.Second, true},
		{"not live, and live", base + "max_open: 5\nretry_max: 7s\nagents: [orders]\n", "agents, max_open changed", "", 7 * time.Second, false},
		{"as it was", base, "", "", 5 * time.Minute, false},
	} {
		detail, err := f.Edit(row.text)
		if (err != nil) != (row.err != "") || err != nil && !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: error %v, want %q", row.name, err, row.err)
		}
		if err == nil && (detail == "") != (row.detail == "") || !strings.Contains(detail, row.detail) {
			t.Errorf("%s: the check says %q, want %q", row.name, detail, row.detail)
		}
		if got := f.Limits().RetryMax; got != row.retry {
			t.Errorf("%s: retry_max is %s, want %s", row.name, got, row.retry)
		}
		if got := f.Policy(agent).Paused; got != row.paused {
			t.Errorf("%s: paused is %v, want %v", row.name, got, row.paused)
		}
		if got := f.Limits().Inbound.MaxOpen; got == 5 {
			t.Errorf("%s: max_open changed while running", row.name)
		}
	}
}

// The file is watched, and its state is to be seen from outside.
func TestConfigFileIsWatched(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Config = filepath.Join(t.TempDir(), "pannier.yaml")
	o.Given = []string{"api", "peer", "admin", "journal"}
	edit := func(text string) {
		if err := os.WriteFile(o.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("")
	s := run(t, o)
	says := func(want string) {
		t.Helper()
		for end := time.Now().Add(40 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			status, body := s.get(t, "/readyz?verbose")
			if status == 200 && strings.Contains(body, want) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("/readyz: %d %s, want %s", status, body, want)
			}
		}
	}
	says(`{"name":"config","ok":true`)
	edit("max_open: 5\n")
	says("max_open changed in the file")
	edit("max_opem: 5\n")
	says("did you mean")
	edit("")
	says(`{"name":"config","ok":true`)
	if err := os.Remove(o.Config); err != nil {
		t.Fatal(err)
	}
	says("no such file")
	edit("")
	says(`{"name":"config","ok":true`)
}
