package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// at is a time ms after a fixed one; zero for less than nothing.
func at(ms int) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

// happened is an event that home wrote at that time.
func happened(ms int, kind, status string) traced {
	return traced{At: at(ms), Type: "intent." + kind, Status: status}
}

// holder adds what a holder said of an attempt; -1 is unsaid.
func (e traced) holder(attempt, offer, offered, held, handed, said int) traced {
	d := &e.Details
	d.Attempt, d.OfferNo, d.Holder = attempt, offer, fmt.Sprint("J", offer)
	d.OfferedAt, d.HeldAt, d.HandedAt, d.HolderAt = at(offered), at(held), at(handed), at(said)
	d.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	return e
}

// until adds when it is due again, and why not before.
func (e traced) until(delay string, ms int) traced {
	e.Details.Delay, e.Details.NextTryAt = delay, at(ms)
	return e
}

// delayed adds what had delayed an offer.
func (e traced) delayed(code string, from, until int) traced {
	e.Details.Delayed = delayed{code, at(from), at(until)}
	return e
}

func (e traced) because(reason string) traced {
	e.Details.Reason = reason
	return e
}

// Each row is an intent's events, and where it has spent its time: part, from, to.
func TestWaterfall(t *testing.T) {
	t.Parallel()
	begun := []traced{happened(1, "created", "CREATED"), happened(2, "submitted", "SUBMITTED")}
	for _, row := range []struct {
		rule   string
		events []traced
		want   string
		due    int // of the deliver_at; 0: none
	}{
		{"polled and acked", []traced{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-90, report 90-95", 0},
		{"pushed: all is told with the answer", []traced{
			happened(95, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 90),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-90, report 90-95", 0},
		{"home is the holder: there is no wire", []traced{
			happened(30, "delivered", "DELIVERED").holder(1, 1, -1, 20, 30, 30),
			happened(90, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-20, mailbox1 20-30, app1 30-90, report 90-90", 0},
		{"a failed attempt and another", []traced{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack"),
			happened(75, "delivered", "DELIVERED").holder(2, 1, 10, 20, 70, 70),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), mailbox2 50-70, app2 70-90, report 90-95", 0},
		{"a holder that is lost, and another", []traced{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(200, "transfer", "DELIVERED"),
			happened(240, "delivered", "DELIVERED").holder(2, 2, 210, 220, 230, 230),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-200 (holder lost), queue 200-210, wire 210-220, mailbox2 220-230, app2 230- (DELIVERED)", 0},
		{"the holder's clock is behind: it holds nothing before it was offered it", []traced{
			happened(1040, "delivered", "DELIVERED").holder(1, 1, 1010, 20, 30, 30),
			happened(1095, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-1010, wire 1010-1010, mailbox1 1010-1020, app1 1020-1080, report 1080-1095", 0},
		{"the holder's clock is ahead: nothing is told before it happens", []traced{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 1020, 1030, 1030),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 1080),
		}, "journal 0-2, queue 2-10, wire 10-30, mailbox1 30-40, app1 40-90, report 90-95", 0},
		{"nobody takes it", nil, "journal 0-2, queue 2- (SUBMITTED)", 0},
		{"nobody took it", []traced{happened(500, "timed_out", "TIMED_OUT")}, "journal 0-2, queue 2-500", 0},
		{"between two attempts", []traced{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack"),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), mailbox 50- (DELIVERED)", 0},
		{"a back-off, and a wait for the app", []traced{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack").until("backing_off", 60),
			happened(75, "delivered", "DELIVERED").holder(2, 1, 10, 20, 70, 70),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), backing_off2 50-60, mailbox2 60-70, app2 70- (DELIVERED)", 0},
		{"a back-off that goes on", []traced{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack").until("backing_off", 160),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), backing_off 50- (DELIVERED)", 0},
		{"a back-off by a clock that is behind", []traced{
			happened(1040, "delivered", "DELIVERED").holder(1, 1, 1010, 20, 30, 30),
			happened(1052, "delivery_failed", "DELIVERED").holder(1, 1, 1010, 20, 30, 50).because("nack").until("backing_off", 60),
			happened(1075, "delivered", "DELIVERED").holder(2, 1, 1010, 20, 60, 60),
		}, "journal 0-2, queue 2-1010, wire 1010-1010, mailbox1 1010-1020, app1 1020-1040 (failed: nack), backing_off2 1040-1050, app2 1050- (DELIVERED)", 0},
		{"an open breaker", []traced{
			happened(95, "delivered", "DELIVERED").holder(1, 1, 80, 85, 90, 90).delayed("breaker_open", 10, 70),
		}, "journal 0-2, queue 2-10, breaker_open 10-70, queue 70-80, wire 80-85, mailbox1 85-90, app1 90- (DELIVERED)", 0},
		{"due later, and behind a breaker by then", []traced{
			happened(95, "delivered", "DELIVERED").holder(1, 1, 80, 85, 90, 90).delayed("breaker_open", 50, 80),
		}, "journal 0-2, scheduled 2-50, breaker_open 50-80, wire 80-85, mailbox1 85-90, app1 90- (DELIVERED)", 50},
		{"due later still", nil, "journal 0-2, scheduled 2- (SUBMITTED)", 500},
		{"due, and nobody takes it", nil, "journal 0-2, scheduled 2-50, queue 50- (SUBMITTED)", 50},
		{"canceled before it was due", []traced{happened(40, "canceled", "CANCELED")}, "journal 0-2, scheduled 2-40", 500},
	} {
		var got []string
		all := append(begun[:2:2], row.events...)
		if row.due > 0 {
			all[1] = all[1].until("scheduled", row.due)
		}
		for _, b := range waterfall(at(0), all, at(100)) {
			part := b.Name
			if b.Attempt > 0 {
				part += fmt.Sprint(b.Attempt)
			}
			part += fmt.Sprintf(" %d-", b.Start.Sub(at(0)).Milliseconds())
			if b.End != nil {
				part += fmt.Sprint(b.End.Sub(at(0)).Milliseconds())
			}
			if b.Note != "" && !ended(strings.Fields(b.Note)[0]) {
				part += " (" + b.Note + ")"
			}
			got = append(got, part)
		}
		if got := strings.Join(got, ", "); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.rule, got, row.want)
		}
	}
}

func TestDrawing(t *testing.T) {
	t.Parallel()
	d := drawing{Intent: "I", Status: "DELIVERED", To: "agent://a/b/c", TraceID: "t", Bars: waterfall(at(0), []traced{
		happened(1, "created", "CREATED"), happened(1, "submitted", "SUBMITTED"),
		happened(400, "delivered", "DELIVERED").holder(1, 1, 200, 250, 300, 300),
	}, at(600))}
	var out strings.Builder
	if err := d.print(&out, at(600)); err != nil {
		t.Fatal(err)
	}
	want := `intent  I
status  DELIVERED
to      agent://a/b/c
trace   t

PART       AT     TOOK                                                      NOTE
journal    0s     1ms     ░                                                 
queue      1ms    199ms   ░░░░░░░░░░░░░░░░                                  
wire       200ms  50ms                    ░░░░                              
mailbox 1  250ms  50ms                        ░░░░                          
app 1      300ms  300ms…                          ████████████████████████  DELIVERED trace 4bf92f3577b34da6a3ce929d0e0e4736
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What is no intent is looked for as the id of a trace; all of its intents are drawn,
// the oldest first.
func TestTraceByTraceID(t *testing.T) {
	t.Parallel()
	missing := answer{status: 404, body: `{"detail":"no such intent","error":{"code":"intent_not_found"}}`}
	none := answer{status: 200, body: `{"events":[]}`}
	s := newSidecarDouble(t, missing, answer{status: 200, body: `{"intents":[{"intent_id":"J"},{"intent_id":"I"}],"next_cursor":null}`},
		answer{status: 200, body: `{"intent":{"intent_id":"I","status":"COMPLETED"}}`}, none,
		answer{status: 200, body: `{"intent":{"intent_id":"J","status":"SUBMITTED"}}`}, none)
	got := pannier(t, "", "trace", "a/b", "--addr", s.addr)
	if want := "intent  I\nstatus  COMPLETED\n\nintent  J\nstatus  SUBMITTED\n"; got.exit != 0 || got.stdout != want {
		t.Errorf("exit %d, %q, %s; want %q", got.exit, got.stdout, got.stderr, want)
	}
	var asked []string
	for _, c := range s.calls() {
		asked = append(asked, c.path+"?"+c.query)
	}
	if want := "/v1/intents/a%2Fb? /v1/intents?limit=20&trace_id=a%2Fb /v1/intents/I? /v1/intents/I/events? /v1/intents/J? /v1/intents/J/events?"; strings.Join(asked, " ") != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	s = newSidecarDouble(t, missing, answer{status: 200, body: `{"intents":[],"next_cursor":null}`})
	if got := pannier(t, "", "trace", "a", "--addr", s.addr); got.exit != exitNotFound || !strings.Contains(got.stderr, "created under a trace") {
		t.Errorf("exit %d, %s", got.exit, got.stderr)
	}
}
