package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWaitExits(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status string
		exit   int
	}{{"COMPLETED", 0}, {"FAILED", exitEndedBadly}, {"CANCELED", exitEndedBadly}, {"TIMED_OUT", exitEndedBadly}} {
		t.Run(row.status, func(t *testing.T) {
			t.Parallel()
			s := newSidecarDouble(t, stream(frame("1", "CREATED"), frame("2", row.status)))
			got := pannier(t, "", "wait", "I", "--addr", s.addr)
			if got.exit != row.exit || got.stdout != eventJSON("2", row.status)+"\n" {
				t.Errorf("exit %d, stdout %q; want %d and the last event", got.exit, got.stdout, row.exit)
			}
			if bad := row.exit != 0; bad != strings.Contains(got.stderr, "I ended "+row.status) {
				t.Errorf("stderr is %q", got.stderr)
			}
		})
	}
}

func TestWaitGoesOnWhereTheStreamEnded(t *testing.T) {
	t.Parallel()
	half := strings.TrimSuffix(frame("4", "COMPLETED"), "\n") // cut off before its blank line: it did not arrive
	s := newSidecarDouble(t,
		stream(frame("1", "CREATED"), frame("2", "SUBMITTED"), idle),
		stream(": ka\n\n", idle),
		stream(frame("2", "SUBMITTED"), frame("3", "DELIVERED"), half),
		answer{status: 503, body: `{"detail":"draining"}`, header: map[string]string{"Retry-After": "1"}},
		stream(frame("4", "COMPLETED")),
	)
	got := pannier(t, "", "watch", "I", "-o", "json", "--addr", s.addr)
	var want strings.Builder
	for i, status := range []string{"CREATED", "SUBMITTED", "DELIVERED", "COMPLETED"} {
		fmt.Fprintln(&want, eventJSON(fmt.Sprint(i+1), status))
	}
	if got.exit != 0 || got.stdout != want.String() {
		t.Errorf("exit %d, stderr %q, stdout\n%swant 0 and\n%s", got.exit, got.stderr, got.stdout, want.String())
	}
	var asked []string
	for _, c := range s.calls() {
		asked = append(asked, c.method+" "+c.path+"?"+c.query)
	}
	const path = "GET /v1/intents/I/events/stream?since=%d&wait_seconds=15"
	for i, since := range []int{0, 2, 2, 3, 3} {
		if want := fmt.Sprintf(path, since); i >= len(asked) || asked[i] != want {
			t.Fatalf("asked\n%s\nwant %s at %d", strings.Join(asked, "\n"), want, i)
		}
	}
}

func TestWaitSurvivesABrokenConnection(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			io.WriteString(w, frame("1", "CREATED"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, frame("2", "COMPLETED"))
	}))
	defer server.Close()
	got := pannier(t, "", "wait", "I", "--addr", server.URL)
	if got.exit != 0 || got.stdout != eventJSON("2", "COMPLETED")+"\n" {
		t.Errorf("exit %d, stdout %q, stderr %q", got.exit, got.stdout, got.stderr)
	}
}

func TestWaitRunsOut(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			io.WriteString(w, `{"intent_id":"I","status":"SUBMITTED"}`)
			return
		}
		io.WriteString(w, frame("1", "SUBMITTED"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	for _, args := range [][]string{{"wait", "I", "--timeout", "100ms"}, {"send", "{}", "--to", "b", "--wait=100ms"}} {
		got := pannier(t, "", append(args, "--addr", server.URL)...)
		if got.exit != exitTimeout || !strings.Contains(got.stderr, "last seen SUBMITTED") || !strings.Contains(got.stderr, "pannier why I") {
			t.Errorf("%v: exit %d, stderr %q; want %d and what to do", args, got.exit, got.stderr, exitTimeout)
		}
	}
}

func TestWaitIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	}))
	defer server.Close()
	var stderr strings.Builder
	exit := execute(ctx, context.Background(), []string{"wait", "I", "--addr", server.URL}, nil, io.Discard, &stderr)
	if exit != exitError || stderr.String() != "error: interrupted\n" {
		t.Errorf("exit %d, stderr %q; want %d, interrupted", exit, stderr.String(), exitError)
	}
}

func TestWaitForSeveral(t *testing.T) {
	t.Parallel()
	unknown := answer{status: 404, body: `{"error":{"code":"intent_not_found"}}`}
	done, failed := stream(frame("1", "COMPLETED")), stream(frame("1", "FAILED"))
	for _, row := range []struct {
		rule    string
		answers []answer
		exit    int
	}{
		{"all well", []answer{done, done}, 0},
		{"some failed", []answer{done, failed}, exitPartly},
		{"all failed alike", []answer{failed, failed}, exitEndedBadly},
		{"all failed, each its own way", []answer{unknown, failed}, exitPartly},
		{"none known", []answer{unknown, unknown}, exitNotFound},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			s := newSidecarDouble(t, row.answers...)
			if got := pannier(t, "", "wait", "I", "J", "--addr", s.addr); got.exit != row.exit {
				t.Errorf("exit %d, want %d; stderr %q", got.exit, row.exit, got.stderr)
			}
		})
	}
}

func TestWatchBeyondTheEndStops(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, stream(), answer{status: 200, body: `{"intent":{"intent_id":"I","status":"COMPLETED"}}`})
	got := pannier(t, "", "watch", "I", "--since", "9", "--addr", s.addr)
	if got.exit != 0 || got.stdout != "" {
		t.Errorf("exit %d, stdout %q; want 0 and nothing", got.exit, got.stdout)
	}
	if calls := s.calls(); len(calls) != 2 || calls[0].query != "since=9&wait_seconds=15" {
		t.Errorf("asked %+v", calls)
	}
}

func TestSendAndWait(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, answer{status: 200, body: `{"intent_id":"I","status":"SUBMITTED"}`}, stream(frame("1", "SUBMITTED"), frame("2", "COMPLETED")))
	got := pannier(t, "", "send", "--to", "billing", `{"order_id":"ORD-1"}`, "--wait", "--addr", s.addr)
	if want := "I\n" + eventJSON("2", "COMPLETED") + "\n"; got.exit != 0 || got.stdout != want {
		t.Errorf("exit %d, stdout %q; want 0 and %q", got.exit, got.stdout, want)
	}
	if calls := s.calls(); len(calls) != 2 || calls[1].query != "since=0&wait_seconds=15" {
		t.Errorf("asked %+v", calls)
	}
}

func TestWatchPrintsALineForEachEvent(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, stream(frame("1", "SUBMITTED"), frame("2", "COMPLETED")))
	got := pannier(t, "", "watch", "I", "--addr", s.addr)
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], "intent.completed") || !strings.Contains(lines[1], `{"n":2}`) {
		t.Errorf("stdout is\n%s", got.stdout)
	}
}
