package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The published clients of AXP read the stream in two ways, both odd. They are
// not to be had for tests, so there are two of our own here with the same habits:
// wait_seconds in each request, reconnected at once and without a pause when a
// response ends, with the highest number seen; an error is the end of a listen,
// and the app around it begins another from 0; an answer that fails is printed,
// and the next one is looked at.

// quirk is one way to read: it calls got with each hand-over as the client's app
// sees it. It returns nil when the response ended as it should.
type quirk struct {
	name string
	read func(body io.Reader, got func(item)) error
}

var quirks = []quirk{
	{"reads to the end", readToTheEnd},
	{"reads by line", readByLine},
}

// readToTheEnd shows nothing before the response is over.
func readToTheEnd(body io.Reader, got func(item)) error {
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	frames := strings.Split(string(text), "\n\n")
	for _, f := range frames[:len(frames)-1] { // what no blank line ends is dropped
		if it, ok := deliveredIn(strings.Split(f, "\n")); ok {
			got(it)
		}
	}
	return nil
}

// readByLine shows each frame as it comes and hangs up at stream.timeout.
func readByLine(body io.Reader, got func(item)) error {
	var f []string
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		switch line := lines.Text(); line {
		case "event: stream.timeout":
			return nil
		case "":
			if it, ok := deliveredIn(f); ok {
				got(it)
			}
			f = f[:0]
		default:
			f = append(f, line)
		}
	}
	return lines.Err()
}

// deliveredIn takes a frame apart as literally as they do. They act on these
// statuses and skip any other in silence.
func deliveredIn(lines []string) (it item, ok bool) {
	named := false
	for _, line := range lines {
		named = named || strings.HasPrefix(line, "event: intent.")
		if data, found := strings.CutPrefix(line, "data: "); found {
			ok = json.Unmarshal([]byte(data), &it) == nil
		}
	}
	return it, named && ok && it.ID != "" && slices.Contains([]string{"DELIVERED", "CREATED", "IN_PROGRESS"}, it.Status)
}

// listener is an app around a quirky client, in a loop.
type listener struct {
	t   *testing.T
	way quirk
	as  string // the agent it listens for
	at  *sidecar
	own *http.Client

	posted []string // what it must have seen in the end

	mu   sync.Mutex
	seen map[string]time.Time // when it first acted on each
	more int                  // hand-overs of what it had seen
	asks int                  // responses it has asked for
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) {
	for ctx.Err() == nil {
		since := int64(0)
		for {
			next, err := l.segment(ctx, since)
			if err != nil {
				break
			}
			since = next
		}
		time.Sleep(2 * time.Millisecond) // the app's own loop; nobody listens yet
	}
}

func (l *listener) segment(ctx context.Context, since int64) (int64, error) {
	l.mu.Lock()
	l.asks++
	l.mu.Unlock()
	url := fmt.Sprintf("http://%s%s?since=%d&wait_seconds=2", l.at.api, agentPath(l.as, "/intents/stream"), since)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return since, err
	}
	resp, err := l.own.Do(req)
	if err != nil {
		return since, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		l.t.Errorf("the stream answers %s, of which such a client dies", resp.Status)
		return since, errNoAnswer
	}
	last := since
	err = l.way.read(resp.Body, func(it item) {
		if it.Seq <= last {
			l.t.Errorf("number %d came after %d", it.Seq, last)
		}
		last = it.Seq
		l.act(it)
	})
	return last, err
}

// act is the app: one piece of work after the other. An answer that fails leaves
// the intent open.
func (l *listener) act(it item) {
	l.mu.Lock()
	if _, again := l.seen[it.ID]; again {
		l.more++
	} else {
		l.seen[it.ID] = time.Now()
	}
	l.mu.Unlock()
	l.at.call("POST", "/v1/intents/"+it.ID+"/resume", `{"action": "complete"}`) // the error is the quirk
}

// has is when it first acted on the intent, zero for never.
func (l *listener) has(id string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[id]
}

// TestQuirkyClients: both see every intent at least once over a hundred SIGKILLs
// of their sidecar, and see the first one at once.
func TestQuirkyClients(t *testing.T) {
	t.Parallel()
	kills := number(t, "E2E_QUIRK_KILLS", 100)
	// Soon, an intent whose answer a kill has swallowed comes under a new number.
	config := map[string]string{"stream_lease": "2s"}
	agents := []string{billing, billing + "-2"}
	holder := newSidecar(t, setup{name: "holder", agents: agents, config: config})
	peers := peersFile(t, map[string][]string{agents[0]: {holder.peer}, agents[1]: {holder.peer}})
	home := start(t, setup{name: "home", agents: []string{shop}, peers: peers, config: config})
	holder.start()

	ctx, cancel := context.WithCancel(context.Background())
	var apps sync.WaitGroup
	defer apps.Wait()
	defer cancel()
	var all []*listener
	for i, way := range quirks {
		l := &listener{t: t, way: way, as: agents[i], at: holder, own: &http.Client{Transport: &http.Transport{}}, seen: map[string]time.Time{}}
		apps.Go(func() { l.run(ctx) })
		l.measure(home)
		all = append(all, l)
	}
	for n := range kills {
		for _, l := range all {
			for range 3 {
				l.posted = append(l.posted, home.post(l.as, map[string]any{"n": n}))
			}
		}
		for _, l := range all {
			eventually(t, "one of this round to be seen", func() error {
				if l.has(l.posted[len(l.posted)-1-n%3]).IsZero() {
					return fmt.Errorf("round %d, by a client that %s", n, l.way.name)
				}
				return nil
			})
		}
		holder.kill()
		holder.start()
	}
	for _, l := range all {
		for _, id := range l.posted {
			home.status(id, "COMPLETED")
			if l.has(id).IsZero() {
				t.Errorf("%s was skipped by a client that %s", id, l.way.name)
			}
		}
		l.mu.Lock()
		t.Logf("figure: a client that %s, %d intents over %d SIGKILLs: all seen, %d of them again, %d requests", l.way.name, len(l.posted), kills, l.more, l.asks)
		l.mu.Unlock()
	}
}

// measure prints how long after it is in home's journal an idle listener acts on
// an intent.
func (l *listener) measure(home *sidecar) {
	var took []time.Duration
	for n := range 20 {
		id := home.post(l.as, map[string]any{"n": n})
		began := time.Now()
		eventually(l.t, "it to be seen", func() error {
			if l.has(id).IsZero() {
				return errNoAnswer
			}
			return nil
		})
		took = append(took, l.has(id).Sub(began))
		home.status(id, "COMPLETED") // idle again
	}
	slices.Sort(took)
	l.t.Logf("figure: 200 at home to a client that %s: median %v, worst of %d %v",
		l.way.name, took[len(took)/2].Round(100*time.Microsecond), len(took), took[len(took)-1].Round(100*time.Microsecond))
}
