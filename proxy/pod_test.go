package proxy_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pannier/proxy"
)

// A disk that goes with its pod looks like any other: whoever made it has to say so,
// and then it is told wherever it is told of memory.
func TestEphemeral(t *testing.T) {
	t.Parallel()
	o := options(t)
	if s := run(t, o); !s.Durable {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs a directory for tests on a disk")
		}
		t.Skip("needs a directory for tests on a disk")
	}
	o.Journal, o.Ephemeral = filepath.Join(t.TempDir(), "journal"), true
	s := run(t, o)
	if s.Durable {
		t.Error("the ready line says durable")
	}
	for path, want := range map[string]string{
		"/readyz?verbose":  `{"name":"durable","ok":false`,
		"/v1/admin/status": `"durable":false`,
		"/metrics":         "pannier_intent_journal_durable 0",
	} {
		r, err := http.Get("http://" + s.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %v, want %s in it:\n%s", path, r.StatusCode, err, want, text)
		}
	}
}

// Others compare addresses byte for byte: a pod says its own in brackets, of whichever
// version it is.
func TestAdvertised(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"[10.1.2.3]:7401":  "10.1.2.3:7401",
		"[FD00:0::3]:7401": "[fd00::3]:7401",
		"Orders.svc:7401":  "orders.svc:7401",
	} {
		if got := proxy.Advertised(proxy.Options{Advertise: written}); got != want {
			t.Errorf("%s is announced as %s, want %s", written, got, want)
		}
	}
}
