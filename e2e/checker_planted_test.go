package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// A checker that has never found anything proves nothing: each row plants one
// violation in a clean history and names what must be said of it.
func TestCheckerFindsPlantedViolations(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		plant func(*history)
		want  string
	}{
		"clean": {func(*history) {}, ""},
		"a lapse is explained": {func(h *history) {
			again(h, 40, 2)
		}, ""},
		"a nack is explained": {func(h *history) {
			h.hands[0].end = second(1)
			h.ends = append(h.ends, settled{span: span{second(2), second(2)}, id: "i1", lease: "l1", verb: "nack", code: 200})
			h.ends[0].span = span{second(50), second(50)}
			again(h, 3, 2)
		}, ""},
		"lost":            {func(h *history) { delete(h.final, "i1") }, "acked to the sender and lost"},
		"never ended":     {func(h *history) { edit(h, func(v *verdict) { v.status = "DELIVERED"; v.events = v.events[:3] }) }, "never ended"},
		"another payload": {func(h *history) { edit(h, func(v *verdict) { v.key = "k9" }) }, "shown with k9"},
		"one key two ids": {func(h *history) { h.posts = append(h.posts, posted{key: "k1", id: "i2"}) }, "made two intents"},
		"one id two keys": {func(h *history) { h.posts = append(h.posts, posted{key: "k2", id: "i1"}) }, "answers two keys"},
		"gap":             {func(h *history) { edit(h, func(v *verdict) { v.events[2].Seq = 4 }) }, "has seq 4"},
		"illegal": {func(h *history) {
			edit(h, func(v *verdict) { v.events = append(v.events[:3:3], numbered(v.events[4:], 4)...) })
		}, "moved DELIVERED to COMPLETED"},
		"after the end":    {func(h *history) { edit(h, func(v *verdict) { v.events = append(v.events, ev(6, "completed")) }) }, "after the end"},
		"status differs":   {func(h *history) { edit(h, func(v *verdict) { v.status = "FAILED" }) }, "the last event says"},
		"taken back":       {func(h *history) { h.reads = []sighting{{id: "i1", events: append(log()[:2:2], ev(3, "waiting"))}} }, "event 3 was"},
		"shrunk":           {func(h *history) { h.reads = []sighting{{id: "i1", events: append(log(), ev(6, "failed"))}} }, "were read"},
		"from nowhere":     {func(h *history) { h.hands[0].item.ID = "i7" }, "nobody posted it"},
		"wrong agent":      {func(h *history) { h.hands[0].agent = shop }, "handed to"},
		"handed after end": {func(h *history) { again(h, 40, 2); h.ends[0].span = span{second(1), second(1)} }, "after its ack was answered 200"},
		"handed twice":     {func(h *history) { again(h, 3, 2); h.ends[0].span = span{second(50), second(50)} }, "without a reason"},
		"twice over a crash, lease still running": {func(h *history) {
			again(h, 3, 2)
			h.ends[0].span = span{second(50), second(50)}
			h.kills = []killed{{who: "holder", at: second(2), up: second(3)}}
		}, "without a reason"},
		"attempt stands still": {func(h *history) { again(h, 40, 1); h.ends[0].span = span{second(50), second(50)} }, "delivery_attempt 1 after 1"},
		"not marked":           {func(h *history) { again(h, 40, 2); h.hands[1].item.Redelivered = false }, "without redelivered"},
		"stale lease":          {func(h *history) { again(h, 40, 2); h.ends[0].lease = "l1" }, "stale lease was believed"},
		"answer booked twice":  {func(h *history) { edit(h, func(v *verdict) { v.late = 1 }) }, "late answers"},
		"two winners": {func(h *history) {
			again(h, 40, 2)
			h.ends = append(h.ends, settled{span: span{second(3), second(3)}, id: "i1", lease: "l1", verb: "ack", code: 200, result: `{"n":1}`})
		}, "acks of two leases"},
		"result of nobody": {func(h *history) { edit(h, func(v *verdict) { v.result = json.RawMessage(`{"n":9}`) }) }, "which no app answered"},
		"answered and not": {func(h *history) {
			edit(h, func(v *verdict) { v.status, v.events = "CANCELED", append(log()[:3], ev(4, "canceled")) })
		}, "an ack was answered 200"},
		"completed by none":  {func(h *history) { h.hands, h.ends = nil, nil }, "never handed over"},
		"attempt by a crash": {func(h *history) { failedOnce(h); h.kills = []killed{{who: "holder", at: second(2), up: second(3)}} }, "the app can have made 0"},
		"attempt by a lapse": {failedOnce, ""},
		"attempt by a lapse, soon after a kill": {func(h *history) {
			failedOnce(h)
			h.kills = []killed{{who: "holder", at: second(0), up: second(2)}} // it answered before it was seen to be up
		}, ""},
		"moved for no reason": {func(h *history) { again(h, 40, 1); h.hands[1].holder = "other" }, "without a reason"},
		"moved from a lost holder": {func(h *history) {
			again(h, 40, 1)
			h.hands[1].holder, h.cutOff = "other", true
			h.kills = []killed{{who: "holder", at: second(2), up: second(45)}}
		}, ""},
		"given up and come back": {func(h *history) {
			again(h, 5, 2)
			h.cutOff = true
			h.kills = []killed{{who: "holder", at: second(2), up: second(3)}}
			edit(h, func(v *verdict) { v.events = transferred() })
		}, ""},
		"come back without having been given up": {func(h *history) {
			again(h, 5, 2)
			h.cutOff = true
			h.kills = []killed{{who: "holder", at: second(2), up: second(3)}}
		}, "without a reason"},
	} {
		t.Run(name, func(t *testing.T) {
			h := clean()
			row.plant(h)
			got := strings.Join(check(h).violations, "\n")
			if row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("violations %q, want one with %q", got, row.want)
			}
		})
	}
}

func second(n int) time.Time { return time.Unix(1_800_000_000+int64(n), 0) }

func ev(seq int, kind string) event {
	return event{Seq: seq, Type: "intent." + kind, Status: strings.ToUpper(kind), At: second(seq)}
}

func log() []event {
	return []event{ev(1, "created"), ev(2, "submitted"), ev(3, "delivered"), ev(4, "in_progress"), ev(5, "completed")}
}

func numbered(events []event, from int) []event {
	out := append([]event{}, events...)
	for i := range out {
		out[i].Seq = from + i
	}
	return out
}

// clean is one intent, posted, handed over and acked.
func clean() *history {
	return &history{
		posts: []posted{{span: span{second(0), second(0)}, key: "k1", id: "i1"}},
		hands: []handed{{
			span: span{second(1), second(1)}, holder: "holder", agent: billing,
			item: item{ID: "i1", To: billing, Lease: "l1", LeaseUntil: second(30), DeliveryAttempt: 1},
		}},
		ends:  []settled{{span: span{second(50), second(50)}, id: "i1", lease: "l1", verb: "ack", code: 200, result: `{"n": 1}`}},
		final: map[string]verdict{"i1": {status: "COMPLETED", to: billing, key: "k1", result: json.RawMessage(`{"n":1}`), events: log()}},
	}
}

func edit(h *history, f func(*verdict)) {
	v := h.final["i1"]
	f(&v)
	h.final["i1"] = v
}

// again hands the intent over a second time, and the ack is of that hand-over.
func again(h *history, at, attempt int) {
	h.ends[0].lease = "l2"
	h.hands = append(h.hands, handed{
		span: span{second(at), second(at)}, holder: "holder", agent: billing,
		item: item{ID: "i1", To: billing, Lease: "l2", LeaseUntil: second(at + 30), DeliveryAttempt: attempt, Redelivered: true},
	})
}

// transferred is a log in which home gave the holder up once.
func transferred() []event {
	lost := event{Seq: 4, Type: "intent.transfer", Status: "DELIVERED", At: second(4), Details: map[string]any{"reason": "holder_lost"}}
	return append(append(log()[:3:3], lost), numbered(log()[3:], 5)...)
}

func failedOnce(h *history) {
	edit(h, func(v *verdict) {
		events := append(log()[:3:3], event{Seq: 4, Type: "intent.delivery_failed", Status: "DELIVERED", At: second(4)})
		v.events = append(events, numbered(log()[3:], 5)...)
	})
}
