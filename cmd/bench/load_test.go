package bench

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// transport answers as a function says.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An open loop ends where the answers do not come, or are errors, and takes what is
// under way along.
func TestOpenLoopIsBounded(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		answer transport
		most   int64 // requests
		want   string
	}{
		"never answered": {func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, underWayMost, "are under way and not answered"},
		"out of order":   {func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }, underWayMost, "no route"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			l := &load{
				client: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
					asked.Add(1)
					return row.answer(r)
				})},
				url: "http://home.test/", body: func() *body { return newBody(minPayload, 1) }, ledger: newLedger(1, time.Second, 0),
			}
			l.ledger.begin = time.Now()
			l.until = l.ledger.begin.Add(time.Hour)
			err := l.paced(context.Background(), 100_000)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if n := asked.Load(); n > row.most {
				t.Errorf("%d requests, want at most %d", n, row.most)
			}
		})
	}
}
