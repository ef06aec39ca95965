package e2e_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"

	"pannier/e2e/kubelet"
)

// statefulSet is replicas with a journal each, which outlives the pod.
type statefulSet struct {
	*cluster
	spec  *apps.StatefulSet
	pods  []*kubelet.Pod   // by ordinal
	nodes []string         // journals, by ordinal
	all   [][]*kubelet.Pod // those that are no more too, by ordinal
}

// up starts a replica, with the journal that the one before has left.
func (s *statefulSet) up(ordinal int) {
	s.t.Helper()
	p := s.start(kubelet.Replica(s.spec, ordinal))
	name := p.Spec().Name
	if ordinal == len(s.pods) {
		s.pods = append(s.pods, nil)
	}
	if ordinal == len(s.nodes) {
		s.nodes, s.all = append(s.nodes, node(s.t, p)), append(s.all, nil)
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
			s.t.Errorf("%s-%d: exit code %d: %q", s.spec.Name, o, code, s.pods[o].Events())
		}
	}
}

// gets waits until a replica's app is sent something.
func (s *statefulSet) gets(ordinal int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("intents at %s-%d", s.spec.Name, ordinal), func() error {
		if !slices.ContainsFunc(hears(s.pods[ordinal]), func(h heard) bool { return h.Got != "" }) {
			return errors.New("none yet")
		}
		return nil
	})
}

// scale makes the replicas fewer, as the controller does where they are managed in
// parallel, or more. What a claim is told to do then it does.
func (s *statefulSet) scale(replicas int) {
	s.t.Helper()
	var gone []int
	for o := replicas; o < len(s.pods); o++ {
		gone = append(gone, o)
	}
	if len(gone) > 0 {
		s.down(gone...)
		if policy := s.spec.Spec.PersistentVolumeClaimRetentionPolicy; policy != nil && policy.WhenScaled == apps.DeletePersistentVolumeClaimRetentionPolicyType {
			for _, o := range gone {
				for _, v := range s.pods[o].Spec().Spec.Volumes {
					if v.PersistentVolumeClaim != nil {
						s.node.DeleteClaim(v.PersistentVolumeClaim.ClaimName)
					}
				}
			}
		}
		s.pods = s.pods[:replicas]
	}
	for o := len(s.pods); o < replicas; o++ {
		s.up(o)
	}
}

// drained runs the Jobs that the chart has for the journals of pods that are gone, side by
// side.
func (c *cluster) drained(name, namespace string) {
	c.t.Helper()
	var pods []*kubelet.Pod
	for _, j := range c.rendered(name, namespace).jobs {
		pods = append(pods, c.begin(kubelet.Attempt(j, 0)))
	}
	if len(pods) == 0 {
		c.t.Fatalf("%s: no Jobs", name)
	}
	for _, p := range pods {
		select {
		case <-p.Done():
		case <-time.After(2 * time.Minute):
			c.t.Fatalf("%s does not end: %q", p.Spec().Name, p.Events())
		}
		drain := p.Container("pannier")
		if code := drain.Code(); code != 0 || !strings.HasSuffix(drain.Log(), "nothing is left: the journal can go\n") {
			c.t.Errorf("%s: exit code %d, it says %s", p.Spec().Name, code, drain.Log())
		}
		c.stop(p)
	}
}

// TestPodsReplaced: three replicas that send and receive are replaced one after the
// other under load, then scaled to one, where Jobs empty the journals of the others, and
// back to three. Each comes back to its journal, at another address; nothing is lost or
// ends but well, and what comes twice says that it may.
func TestPodsReplaced(t *testing.T) {
	t.Parallel()
	need(t, true)
	c := newCluster(t, 7)
	c.serve()
	c.install("pannier-control/keyring", "pannier-system")
	c.allow("shop", "acme", "prod")
	shop := c.install("pannier/own-apps", "shop")
	orders, billing := shop["orders"], shop["billing"]
	for o := 2; o >= 0; o-- {
		billing.gets(o)
		billing.down(o)
		billing.up(o)
	}
	billing.gets(0)
	billing.scale(1)
	c.drained("pannier/own-apps-fewer", "shop")
	billing.scale(3)
	billing.gets(1)
	billing.gets(2)
	l := ledger{t: t, got: map[string][]heard{}, causes: map[string]string{}}
	l.balance(orders)
	l.balance(billing)
	l.close(orders, billing)
}

// ledger is what apps have sent and got.
type ledger struct {
	t         testing.TB
	sent      []string
	got       map[string][]heard
	completed int
	deadly    int               // ended for a reason of delivery
	causes    map[string]string // by intent: why its log says that it was handed over again
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
					l.t.Errorf("a post at %s-%d was refused: %s", s.spec.Name, o, h.Refused)
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
	switch doc.Intent.Status {
	case "COMPLETED":
		l.completed++
	case "FAILED", "TIMED_OUT":
		l.deadly++
		fallthrough
	default:
		l.t.Errorf("%s ended %s: %s", id, doc.Intent.Status, doc.Intent.Error)
	}
	a := call(client, "http://127.0.0.1:7400", "GET", "/v1/intents/"+id+"/events", nil)
	var log struct{ Events []event }
	if err := json.Unmarshal(a.body, &log); err != nil || len(log.Events) == 0 {
		l.t.Errorf("the log of %s: %v, %v", id, a, err)
	}
	for _, e := range log.Events {
		switch e.Type {
		case "intent.delivery_failed":
			l.causes[id] = fmt.Sprint("failed attempt: ", e.Details["reason"])
		case "intent.transfer":
			l.causes[id] = "given to another sidecar"
		}
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
	lost, twice, why := 0, 0, map[string]int{}
	for _, id := range l.sent {
		times := l.got[id]
		if len(times) == 0 {
			lost++
			l.t.Errorf("%s never came", id)
		}
		unsaid := 0
		for _, h := range times {
			if !h.Redelivered && h.Attempt <= 1 {
				unsaid++
			}
		}
		if unsaid > 1 {
			l.t.Errorf("%s came %d times as if for the first time: %+v", id, unsaid, times)
		}
		if more := len(times) - 1; more > 0 {
			twice += more
			// Where the log is silent a stop has cut off the request: the same sidecar sent it again.
			why[cmp.Or(l.causes[id], "request cut off by a stop")] += more
		}
	}
	l.t.Logf("figure: pods replaced and scaled under load: sent %d, completed %d, duplicates %d by cause %v, dead letters %d, lost %d",
		len(l.sent), l.completed, twice, why, l.deadly, lost)
}
