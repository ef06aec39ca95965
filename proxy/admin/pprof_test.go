package admin_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"testing"

	"pannier/journal"
	"pannier/proxy/admin"
)

func TestProfilesAreServedOnlyWhereAsked(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		w := setup(t)
		w.handler = admin.New(admin.Source{
			Health: func() admin.Health { return w.health },
			Stats:  func() journal.Stats { return journal.Stats{} },
			Pprof:  on,
		}, nil, slog.New(slog.DiscardHandler))
		want := http.StatusNotFound
		if on {
			want = http.StatusOK
		}
		for _, path := range []string{"/debug/pprof/heap", "/debug/pprof/goroutine", "/debug/pprof/profile?seconds=1"} {
			got := w.ask("GET", path)
			if got.Code != want {
				t.Errorf("pprof %v: GET %s answers %d, want %d", on, path, got.Code, want)
			}
			// A profile is a gzip file, which begins with these two bytes (RFC 1952, 2.3.1).
			if on && !bytes.HasPrefix(got.Body.Bytes(), []byte{0x1f, 0x8b}) {
				t.Errorf("GET %s: %d bytes that are no profile", path, got.Body.Len())
			}
		}
	}
}

func TestProfileRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.handler = admin.New(admin.Source{
		Health: func() admin.Health { return w.health }, Pprof: true,
	}, nil, slog.New(slog.DiscardHandler))
	for path, want := range map[string]int{
		"/debug/pprof/nonsense":            http.StatusNotFound,
		"/debug/pprof/profile?seconds=0":   http.StatusUnprocessableEntity,
		"/debug/pprof/profile?seconds=1h":  http.StatusUnprocessableEntity,
		"/debug/pprof/profile?seconds=301": http.StatusUnprocessableEntity,
	} {
		if got := w.ask("GET", path); got.Code != want {
			t.Errorf("GET %s answers %d, want %d", path, got.Code, want)
		}
	}
}
