package e2e_test

import (
	"fmt"
	"testing"
)

// TestPausedByTheFile: a pause and its end need no restart, lose nothing and are
// no attempt; why and pannier peers say it.
func TestPausedByTheFile(t *testing.T) {
	t.Parallel()
	holder := start(t, setup{name: "billing", agents: []string{billing}})
	path := peersFile(t, map[string][]string{billing: {holder.peer}})
	home := start(t, setup{name: "home", agents: []string{shop}, peers: path})
	carry(t, home, holder)

	agents := fmt.Sprintf("agents: {%q: [%q]}\n", billing, holder.peer)
	replaceFile(t, path, []byte(agents+"policies: {\"*\": {paused: true}}\n"))
	eventually(t, "the pause is in force", func() error {
		var doc struct {
			Peers []struct {
				Serves []struct{ Policy struct{ Paused bool } }
			}
		}
		home.operate("GET", "/v1/admin/peers", nil).into(t, &doc)
		for _, p := range doc.Peers {
			for _, s := range p.Serves {
				if s.Policy.Paused {
					return nil
				}
			}
		}
		return fmt.Errorf("peers: %+v", doc)
	})
	id := home.post(billing, map[string]any{"n": 1})
	if why := home.why(id); len(why.Causes) != 1 || why.Causes[0].Code != "paused" {
		t.Errorf("why: %+v", why)
	}
	holder.takeNothing(billing, 1)

	replaceFile(t, path, []byte(agents))
	it := holder.take1(billing, take{wait: 20})
	if it.ID != id || it.DeliveryAttempt != 1 {
		t.Errorf("handed over %s as attempt %d, want %s as the first", it.ID, it.DeliveryAttempt, id)
	}
	holder.ack(it, nil)
	home.status(id, "COMPLETED")
}
