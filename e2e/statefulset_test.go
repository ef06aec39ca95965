package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"pannier/e2e/kubelet"
)

// statefulSet is replicas with a journal each, which outlives the pod.
type statefulSet struct {
	*cluster
	name, agent string
	env         []string
	pods        []*kubelet.Pod   // by ordinal
	nodes       []string         // journals, by ordinal
	all         [][]*kubelet.Pod // those that are no more too, by ordinal
}

// up starts a replica, with the journal that the one before has left.
func (s *statefulSet) up(ordinal int) {
	s.t.Helper()
	name := fmt.Sprintf("%s-%d", s.name, ordinal)
	p := s.start(s.beside(pod(name, s.env...), s.agent, "pannier-journal-"+name))
	if ordinal == len(s.pods) {
		s.pods, s.nodes, s.all = append(s.pods, nil), append(s.nodes, node(s.t, p)), append(s.all, nil)
	}
	if got := node(s.t, p); got != s.nodes[ordinal] {
		s.t.Errorf("%s has journal %s, had %s", name, got, s.nodes[ordinal])
	}
	s.pods[ordinal], s.all[ordinal] = p, append(s.all[ordinal], p)
}

// down stops replicas, side by side.
func (s *statefulSet) down(ordinals ...int) {
	s.t.Helper()
	var all sync.WaitGroup
	for _, o := range ordinals {
		all.Go(s.pods[o].Stop)
	}
	all.Wait()
	for _, o := range ordinals {
		s.stop(s.pods[o])
		if code := s.pods[o].Container("pannier").Code(); code != 0 {
			s.t.Errorf("%s-%d: exit code %d: %q", s.name, o, code, s.pods[o].Events())
		}
	}
}

// gets waits until a replica's app is sent something.
func (s *statefulSet) gets(ordinal int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("intents at %s-%d", s.name, ordinal), func() error {
		if !slices.ContainsFunc(hears(s.pods[ordinal]), func(h heard) bool { return h.Got != "" }) {
			return errors.New("none yet")
		}
		return nil
	})
}

// TestPodsReplaced: three replicas that send and receive are replaced one after the
// other under load, then scaled to one and back to three. Each comes back to its
// journal, at another address; nothing is lost or ends but well, and what comes twice
// says that it may.
func TestPodsReplaced(t *testing.T) {
	t.Parallel()
	need(t, true)
	c := newCluster(t, 5)
	const app = "=http:http://127.0.0.1:8080/"
	shops := &statefulSet{cluster: c, name: "shop", agent: shop + app, env: []string{"APP_TO", billing, "APP_EVERY", "20ms", "APP_LISTEN", "127.0.0.1:8080"}}
	billings := &statefulSet{cluster: c, name: "billing", agent: billing + app, env: []string{"APP_TO", shop, "APP_EVERY", "100ms", "APP_LISTEN", "127.0.0.1:8080"}}
	shops.up(0)
	for o := range 3 {
		billings.up(o)
	}
	for o := 2; o >= 0; o-- {
		billings.gets(o)
		billings.down(o)
		billings.up(o)
	}
	billings.gets(0)
	billings.down(1, 2)
	for o := 1; o < 3; o++ {
		billings.up(o)
		billings.gets(o)
	}
	l := ledger{t: t, got: map[string][]heard{}}
	l.balance(shops)
	l.balance(billings)
	l.close(shops, billings)
}

// ledger is what apps have sent and got.
type ledger struct {
	t         testing.TB
	sent      []string
	got       map[string][]heard
	completed int
}

// balance waits until all that the replicas have sent so far has ended.
func (l *ledger) balance(s *statefulSet) {
	l.t.Helper()
	for o, pods := range s.all {
		client := s.pods[o].Client()
		client.Timeout = 30 * time.Second
		for _, p := range pods {
			for _, h := range hears(p) {
				if h.Refused != "" {
					l.t.Errorf("a post at %s-%d was refused: %s", s.name, o, h.Refused)
				}
				if id := h.Sent + h.Last; id != "" {
					l.ended(client, id)
				}
			}
		}
		client.CloseIdleConnections()
	}
}

// ended waits for the end of one that was sent.
func (l *ledger) ended(client *http.Client, id string) {
	l.t.Helper()
	var doc struct{ Intent intent }
	eventually(l.t, "the end of "+id, func() error {
		a := call(client, "http://127.0.0.1:7400", "GET", "/v1/intents/"+id, nil)
		if a.code != http.StatusOK {
			return fmt.Errorf("%v", a)
		}
		if err := json.Unmarshal(a.body, &doc); err != nil || !terminal(doc.Intent.Status) {
			return fmt.Errorf("%s, %v", doc.Intent.Status, err)
		}
		return nil
	})
	l.sent = append(l.sent, id)
	if doc.Intent.Status == "COMPLETED" {
		l.completed++
	} else {
		l.t.Errorf("%s ended %s: %s", id, doc.Intent.Status, doc.Intent.Error)
	}
}

// close compares it with what apps have got. What was handed over again said so, or
// was a further attempt; anything else has no explanation.
func (l *ledger) close(sets ...*statefulSet) {
	l.t.Helper()
	for _, s := range sets {
		for _, pods := range s.all {
			for _, p := range pods {
				for _, h := range hears(p) {
					if h.Got != "" {
						l.got[h.Got] = append(l.got[h.Got], h)
					}
				}
			}
		}
	}
	redelivered, attempts, twice, lost := 0, 0, 0, 0
	for _, id := range l.sent {
		times := l.got[id]
		if len(times) == 0 {
			lost++
			l.t.Errorf("%s never came", id)
		}
		unsaid := 0
		twice += max(0, len(times)-1)
		for _, h := range times {
			switch {
			case h.Redelivered:
				redelivered++
			case h.Attempt > 1:
				attempts++
			default:
				unsaid++
			}
		}
		if unsaid > 1 {
			l.t.Errorf("%s came %d times as if for the first time: %+v", id, unsaid, times)
		}
	}
	l.t.Logf("figure: pods replaced and scaled under load: sent %d, completed %d, dead letters %d, lost %d, duplicates %d; handed over as redelivered %d, as a further attempt %d",
		len(l.sent), l.completed, len(l.sent)-l.completed, lost, twice, redelivered, attempts)
}
