package api_test

import (
	"log/slog"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/api"
)

// stuck is a connection whose other end does not read before it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	let chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.let
	return s.ResponseRecorder.Write(b)
}

// TestAnswersHaveRoom: the bodies of large answers are in memory in a bounded number of
// bytes, however many are asked for at once by readers that do not read.
func TestAnswersHaveRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size, most = 64 << 10, 8
		j := openJournal(t)
		a := api.New(api.Options{MaxBody: size}, j, &mailbox{j: j}, nil, slog.New(slog.DiscardHandler))
		say := direct(t, a)
		big := "/v1/intents/" + say("POST", "/v1/intents", large(size-1<<10)).want(200).text("intent_id")
		small := "/v1/intents/" + say("POST", "/v1/intents", large(1000)).want(200).text("intent_id")
		let := make(chan struct{})
		read := sync.OnceFunc(func() { close(let) })
		defer read()
		var group sync.WaitGroup
		for range most - 1 {
			group.Go(func() {
				out := &stuck{httptest.NewRecorder(), let}
				r := httptest.NewRequest("GET", big, nil)
				r.Host = "localhost"
				if a.Handler().ServeHTTP(out, r); out.Code != 200 || !strings.Contains(out.Body.String(), "xxx") {
					t.Errorf("who does not read at first is answered %d", out.Code)
				}
			})
		}
		synctest.Wait()
		say("GET", small, "").want(200)
		say("GET", big, "").want(200) // the last that has room
		hold := func(path string) {
			group.Go(func() {
				r := httptest.NewRequest("GET", path, nil)
				r.Host = "localhost"
				a.Handler().ServeHTTP(&stuck{httptest.NewRecorder(), let}, r)
			})
			synctest.Wait()
		}
		hold(big)
		say("GET", small, "").want(200)
		for _, path := range []string{big, big + "/events", "/v1/deliveries/" + strings.TrimPrefix(big, "/v1/intents/"), "/v1/deliveries"} {
			busy := soon(t, func() *answer { return say("GET", path, "") }).want(429)
			if busy.header.Get("Retry-After") == "" {
				t.Errorf("GET %s: who finds no room is told %v", path, busy.header)
			}
		}
		say("POST", "/v1/intents", large(size)).want(200) // their room is another
		late := make(chan int, 1)
		go func() { late <- say("GET", big, "").status }()
		synctest.Wait()
		read()
		if got := soon(t, func() int { return <-late }); got != 200 {
			t.Errorf("who waited for room is answered %d", got)
		}
		group.Wait()
	})
}

// TestPollHasRoom: what a poll leases has room to be sent. Without, one small intent is
// handed over, and a large one stays for whoever comes when there is room.
func TestPollHasRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size, most = 64 << 10, 8
		j := openJournal(t)
		box := &mailbox{j: j}
		a := api.New(api.Options{MaxBody: size}, j, box, nil, slog.New(slog.DiscardHandler))
		say := direct(t, a)
		id := say("POST", "/v1/intents", large(size-1<<10)).want(200).text("intent_id")
		let := make(chan struct{})
		read := sync.OnceFunc(func() { close(let) })
		defer read()
		var group sync.WaitGroup
		for range most {
			group.Go(func() {
				r := httptest.NewRequest("GET", "/v1/intents/"+id, nil)
				r.Host = "localhost"
				a.Handler().ServeHTTP(&stuck{httptest.NewRecorder(), let}, r)
			})
		}
		synctest.Wait()
		soon(t, func() *answer { return say("GET", "/v1/agents/b/intents", "") }).want(429)
		if n := box.takenBack(); n != 1 {
			t.Errorf("%d hand-overs were given back, want the one for which there is no room", n)
		}
		say("POST", "/v1/intents", strings.Replace(large(1000), `"b"`, `"c"`, 1)).want(200)
		if got := say("GET", "/v1/agents/c/intents", "").want(200).text("intents.0.delivery_attempt"); got != "1" {
			t.Errorf("a small one was not handed over: %q", got)
		}
		read()
		group.Wait()
		say("GET", "/v1/intents/"+id, "").want(200)
	})
}

// timed is a connection that tells whether it was given a time to write in, or it was taken
// off.
type timed struct {
	*httptest.ResponseRecorder
	deadlines chan bool
}

func (c *timed) SetWriteDeadline(at time.Time) error {
	c.deadlines <- !at.IsZero()
	return nil
}

// TestSlowReaderGivesRoomBack: a large answer is written within a time, or cut.
func TestSlowReaderGivesRoomBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.post("/v1/intents", large(60<<10)).want(200).text("intent_id")
	deadlines := make(chan bool, 2)
	r := httptest.NewRequest("GET", "/v1/intents/"+id, nil)
	r.Host = "localhost"
	w.api.Handler().ServeHTTP(&timed{httptest.NewRecorder(), deadlines}, r)
	if !<-deadlines || <-deadlines {
		t.Error("a large answer has no time, or what follows on its connection has")
	}
}

// TestRoomFollowsMemory: what there is for bodies at once is less in a process with little
// memory, and never less than one.
func TestRoomFollowsMemory(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for limit, want := range map[int64]int64{math.MaxInt64: 8, 1024 * mib: 8, 96 * mib: 4, 51 * mib: 1} {
		if got := api.RoomOf(limit, mib); got != want*mib {
			t.Errorf("with %d MiB: %d bytes, want %d MiB", limit/mib, got, want)
		}
	}
}

// TestListIsBoundedInBytes: a list ends at a MiB, and goes on with its cursor.
func TestListIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const n = 40
	for range n {
		w.post("/v1/intents", large(40<<10)).want(200)
	}
	seen := map[string]bool{}
	for path := "/v1/intents?limit=200"; path != ""; {
		a := w.get(path).want(200)
		if len(a.raw) > 5<<18 {
			t.Errorf("one list has %d bytes", len(a.raw))
		}
		path = ""
		if cursor := a.text("next_cursor"); cursor != "" {
			path = "/v1/intents?limit=200&cursor=" + cursor
		}
		for _, i := range a.at("intents").([]any) {
			seen[i.(map[string]any)["intent_id"].(string)] = true
		}
	}
	if len(seen) != n {
		t.Errorf("lists show %d of %d intents", len(seen), n)
	}
	if a := w.get("/v1/deliveries?limit=1000").want(200); len(a.raw) > 5<<18 {
		t.Errorf("a list of deliveries has %d bytes", len(a.raw))
	}
}
