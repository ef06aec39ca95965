package proxy

import (
	"fmt"
	"strings"
	"time"

	"pannier/proxy/admin"
	"pannier/proxy/crowd"
)

// listeners are all of a sidecar, each with its places.
type listeners []*crowd.Listener

func (all listeners) uses() []crowd.Use {
	uses := make([]crowd.Use, 0, len(all))
	for _, l := range all {
		uses = append(uses, l.Use())
	}
	return uses
}

// awayFor is for how long one that was turned away is worth a word: whoever it was tries
// again sooner, and would be turned away again.
const awayFor = time.Minute

// connectionsCheck is whether all who connected of late were let in. Whoever was not has had no answer
// to tell of.
func connectionsCheck(all []crowd.Use, now time.Time) admin.Check {
	var full []string
	for _, u := range all {
		ago := now.Sub(u.Away.Last)
		if u.Away.Count == 0 || ago >= awayFor {
			continue
		}
		why := "all its places were at work"
		if u.Away.Short {
			why = "hardly any files were left to open"
		}
		full = append(full, fmt.Sprintf("the %s listener turned a connection away %s ago, as %s; %d of %d are open", u.Name, ago.Truncate(time.Second), why, u.Open, u.Most))
	}
	return admin.Check{Name: "connections", OK: len(full) == 0, Advice: true, Detail: strings.Join(full, "; ")}
}
