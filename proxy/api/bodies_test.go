package api_test

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/api"
)

// large is an intent of n bytes.
func large(n int) string {
	const empty = `{"intent_type":"a.v1","to_agent":"b","payload":{"x":""}}`
	return strings.Replace(empty, `""`, `"`+strings.Repeat("x", n-len(empty))+`"`, 1)
}

// soon is what f returns, within a minute of a bubble.
func soon[T any](t *testing.T, f func() T) (got T) {
	t.Helper()
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case got = <-done:
	case <-time.After(time.Minute):
		t.Fatal("no answer within a minute")
	}
	return got
}

// TestBodiesHaveRoom: large bodies are in memory in a bounded number of bytes, however many
// are sent at once. Who finds no room waits, then is told to come again; small ones pass.
func TestBodiesHaveRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size, most = 64 << 10, 8 // so many of the largest are one batch
		a := api.New(api.Options{MaxBody: size}, openJournal(t), nil, nil, slog.New(slog.DiscardHandler))
		say := direct(t, a)
		var slow []*io.PipeWriter
		var group sync.WaitGroup
		for n := range most {
			from, to := io.Pipe()
			slow = append(slow, to)
			r := httptest.NewRequest("POST", "/v1/intents", from)
			r.ContentLength, r.Host = size, "localhost"
			if n%2 == 1 {
				r.ContentLength = -1 // it may be as long as any
			}
			r.Header.Set("Content-Type", "application/json")
			group.Go(func() {
				out := httptest.NewRecorder()
				if a.Handler().ServeHTTP(out, r); out.Code != 200 {
					t.Errorf("a slow one: %d, %s", out.Code, out.Body)
				}
			})
			if _, err := io.WriteString(to, large(size)[:size/2]); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		say("POST", "/v1/intents", large(1000)).want(200)
		for _, n := range []int{size, size / 2} {
			busy := soon(t, func() *answer { return say("POST", "/v1/intents", large(n)) }).want(429)
			if busy.header.Get("Retry-After") == "" || busy.header.Get("Connection") != "close" {
				t.Errorf("a client with %d bytes that found no room is told %v", n, busy.header)
			}
		}
		late := make(chan int, 1)
		go func() { late <- say("POST", "/v1/intents", large(size)).status }()
		synctest.Wait()
		for _, to := range slow {
			if _, err := io.WriteString(to, large(size)[size/2:]); err != nil {
				t.Fatal(err)
			}
			to.Close()
		}
		if got := soon(t, func() int { return <-late }); got != 200 {
			t.Errorf("who waited for room is answered %d", got)
		}
		group.Wait()
	})
}

// TestBodyLargerThanTheRoom: a body that may be longer than all the room has it to itself.
func TestBodyLargerThanTheRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := api.New(api.Options{MaxBody: 1 << 10}, openJournal(t), nil, nil, slog.New(slog.DiscardHandler))
		direct(t, a)("POST", "/v1/scenarios/validate", `{"x":"`+strings.Repeat("x", 20<<10)+`"}`).want(200)
	})
}

// TestWaitingTakesNoRoom: what is stored and waits for another sidecar stands in nobody's way.
func TestWaitingTakesNoRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 64 << 10
		j := openJournal(t)
		say := direct(t, api.New(api.Options{MaxBody: size}, j, nil, nil, slog.New(slog.DiscardHandler)))
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { say("POST", "/v1/intents", large(size), "Pannier-Durability: receiver").want(200) })
		}
		synctest.Wait()
		if got := j.Stats().Live["due"]; got != 20 {
			t.Errorf("%d of 20 are stored while they wait", got)
		}
		group.Wait()
	})
}
