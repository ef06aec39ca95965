package proxy_test

import (
	"testing"
	"time"

	"pannier/proxy"
	"pannier/proxy/crowd"
)

// That connections are turned away is said of each listener for a minute, with what for, and
// keeps nobody from being ready.
func TestTurnedAwayIsSaid(t *testing.T) {
	t.Parallel()
	now := time.Now()
	away := func(ago time.Duration, short bool) crowd.Away {
		return crowd.Away{Count: 9, Last: now.Add(-ago), Short: short}
	}
	const full = "the api listener turned a connection away 2s ago, as all its places were at work; 8 of 8 are open"
	const few = "the peer listener turned a connection away 59s ago, as hardly any files were left to open; 3 of 8 are open"
	api := crowd.Use{Name: "api", Open: 8, Most: 8, Away: away(2*time.Second, false)}
	peer := crowd.Use{Name: "peer", Open: 3, Most: 8, Away: away(59*time.Second, true)}
	for name, c := range map[string]struct {
		rooms  []crowd.Use
		detail string
	}{
		"full, and nobody turned away": {[]crowd.Use{{Name: "api", Open: 8, Most: 8}}, ""},
		"a minute ago":                 {[]crowd.Use{{Name: "api", Open: 8, Most: 8, Away: away(time.Minute, false)}}, ""},
		"one":                          {[]crowd.Use{api, {Name: "admin", Most: 2}}, full},
		"both":                         {[]crowd.Use{api, peer}, full + "; " + few},
	} {
		got := proxy.ConnectionsCheck(c.rooms, now)
		if got.Name != "connections" || got.OK != (c.detail == "") || got.Detail != c.detail || !got.Advice {
			t.Errorf("%s: %+v, want %q", name, got, c.detail)
		}
	}
}
