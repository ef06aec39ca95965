package admin_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"pannier/outbound"
)

// breakers remembers what was asked of them; there is one, at h:1.
type breakers struct{ asked []string }

func (b *breakers) OpenBreaker(address string) error  { return b.set("open", address) }
func (b *breakers) CloseBreaker(address string) error { return b.set("close", address) }

func (b *breakers) set(what, address string) error {
	if address != "h:1" {
		return outbound.ErrNoLink
	}
	b.asked = append(b.asked, what)
	return nil
}

func TestBreakers(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"open", `{"address":"h:1"}`, http.StatusOK, `"breaker":"open"`},
		{"close", `{"address":"h:1"}`, http.StatusOK, `"breaker":"closed"`},
		{"open", `{"address":"h:2"}`, http.StatusNotFound, "peer_not_found"},
		{"open", `{"adress":"h:1"}`, http.StatusBadRequest, "invalid_json"},
	} {
		got := w.say("POST", "/v1/admin/breakers/"+c.path, c.body)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.says) {
			t.Errorf("%s %s: %d %s, want %d and %s", c.path, c.body, got.Code, got.Body, c.status, c.says)
		}
	}
	if want := []string{"open", "close"}; !slices.Equal(w.breakers.asked, want) {
		t.Errorf("asked %v, want %v", w.breakers.asked, want)
	}
}
