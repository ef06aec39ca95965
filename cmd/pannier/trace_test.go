package main

import (
	"strings"
	"testing"
	"time"

	"pannier/proxy/waterfall"
)

func TestDrawing(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time {
		return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	}
	until := func(ms int) *time.Time { end := at(ms); return &end }
	d := drawing{Intent: "I", Status: "DELIVERED", To: "agent://a/b/c", TraceID: "t", Bars: []waterfall.Bar{
		{Name: "journal", Start: at(0), End: until(1)}, {Name: "queue", Start: at(1), End: until(200)},
		{Name: "wire", Start: at(200), End: until(250)}, {Name: "mailbox", Attempt: 1, Start: at(250), End: until(300)},
		{Name: "app", Attempt: 1, Start: at(300), Note: "DELIVERED", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
	}}
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
