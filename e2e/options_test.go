package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestEveryOptionHasItsEffect: each option of a send, once in the body and once as a
// header, does at the receiver's end what it says.
func TestEveryOptionHasItsEffect(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	in := func(d time.Duration) func() any {
		return func() any { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	}
	always := func(v any) func() any { return func() any { return v } }
	nack := func(id string) {
		it := holder.take1(billing, take{lease: 60, wait: 20})
		if it.ID != id {
			t.Errorf("handed over %s, want %s", it.ID, id)
		}
		holder.settle("nack", it, nil)
	}
	for _, row := range []struct {
		option string
		value  func() any
		check  func(id string, sent answer)
	}{
		{"deadline_at", in(4 * time.Second), func(id string, _ answer) {
			holder.take1(billing, take{lease: 60, wait: 20}) // taken in time, and not ended in time
			home.status(id, "TIMED_OUT")
		}},
		{"deliver_by", in(3 * time.Second), func(id string, _ answer) {
			home.status(id, "TIMED_OUT")
			holder.takeNothing(billing, 0)
		}},
		{"max_delivery_attempts", always(1), func(id string, _ answer) {
			nack(id)
			home.status(id, "FAILED")
		}},
		{"on_exhausted", always("hold"), func(id string, _ answer) {
			for range 10 {
				nack(id)
			}
			home.status(id, "WAITING")
			home.resume(id, `{"action":"complete"}`)
		}},
		{"durability", always("receiver"), func(id string, sent answer) {
			if got := sent.header.Get("Pannier-Durability"); got != "receiver" {
				t.Errorf("answered with durability %q", got)
			}
			holder.ack(holder.take1(billing, take{lease: 60, wait: 20}), nil)
		}},
		{"delay_seconds", always(2), func(id string, _ answer) {
			posted := time.Now()
			it := holder.take1(billing, take{lease: 60, wait: 20})
			if early := 2*time.Second - time.Since(posted); early > 500*time.Millisecond {
				t.Errorf("handed over %v before its time", early)
			}
			holder.ack(it, nil)
		}},
		{"reply_to", always(shop), func(id string, _ answer) {
			holder.ack(holder.take1(billing, take{lease: 60, wait: 20}), nil)
			eventually(t, "its completion", func() error {
				_, err := home.completionAt(id)
				return err
			})
		}},
		{"correlation_id", always("c-1"), func(id string, _ answer) {
			if got := home.get(id).Correlation; got != "c-1" {
				t.Errorf("correlation id %q", got)
			}
			holder.ack(holder.take1(billing, take{lease: 60, wait: 20}), nil)
		}},
	} {
		for _, as := range []string{"body", "header"} {
			value := row.value()
			body, header := message(billing, map[string]any{"n": 1}, delivery(row.option, value)), []string{}
			if as == "header" {
				delete(body, "delivery")
				header = []string{"Pannier-" + strings.ReplaceAll(row.option, "_", "-"), fmt.Sprint(value)}
			}
			var doc struct {
				ID string `json:"intent_id"`
			}
			sent := home.call("POST", "/v1/intents", body, header...)
			if sent.code != http.StatusOK {
				t.Fatalf("%s in the %s: %v", row.option, as, sent)
			}
			sent.into(t, &doc)
			row.check(doc.ID, sent)
			if t.Failed() {
				t.Fatalf("%s in the %s", row.option, as)
			}
		}
	}
}
