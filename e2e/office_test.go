package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKillLoopOverPeople kills the sidecar of those who ask, that of those who are asked, and
// both, while people decide, pass on and let things lie at either of them: nothing that was
// asked, decided or due at some time is lost or doubled. E2E_KILLS=n kills n times and some, and
// E2E_SEED repeats the schedule.
func TestKillLoopOverPeople(t *testing.T) {
	t.Parallel()
	total := number(t, "E2E_KILLS", 12)
	home, holder := startPair(t, nil)
	n := newNemesis(t, home, holder)
	both := max(total/6, 1)
	n.plan(both, home, holder)
	n.plan(max((total-2*both+1)/2, 1), home)
	n.plan(max((total-2*both)/2, 1), holder)
	o := &staff{t: t, h: &officeHistory{handed: map[string][]time.Time{}}, home: home, holder: holder}
	n.rnd.Shuffle(len(n.rounds), func(i, j int) { n.rounds[i], n.rounds[j] = n.rounds[j], n.rounds[i] })
	o.open(n.rnd.Uint64())
	for _, victims := range n.rounds {
		n.pause(50, 350)
		n.strike(slices.Clone(victims))
	}
	o.close()
	bad := append(checkOffice(o.h), o.protests...)
	for _, v := range bad[:min(len(bad), 10)] {
		t.Error(v)
		o.tell(v)
	}
	stood, there := 0, 0
	for _, s := range o.h.said {
		if s.code == 200 {
			stood++
		}
	}
	for _, v := range o.h.final {
		if v.there != "" {
			there++
		}
	}
	t.Logf("figure: %d SIGKILLs over people: %d asked, %d decisions of which %d stood, %d shown at the other sidecar, %d passed on, %d times of a schedule",
		len(n.h.kills), len(o.h.wanted), len(o.h.said), stood, there, len(o.h.passed), len(o.h.made))
	for _, s := range []*sidecar{home, holder} {
		if log := s.stderr(); strings.Contains(log, "panic:") || strings.Contains(log, "fatal error:") {
			t.Errorf("%s panicked", s.set.name)
		}
		if code, _ := s.stop(); code != 0 {
			t.Errorf("%s: exit code %d at the end", s.set.name, code)
		}
		s.verify()
	}
}

// left is the title of what nobody is to decide before the end.
const left = "leave it"

// staff are people at two sidecars, those who ask them, and the app that waits for them.
type staff struct {
	t            *testing.T
	h            *officeHistory
	home, holder *sidecar
	schedule     string
	at           []*sidecar // where each of those that were passed on was so

	closing, over atomic.Bool // nothing more is asked; and nobody does anything more
	askers, rest  sync.WaitGroup
	mu            sync.Mutex
	protests      []string
}

// tell prints all that is known of what a violation names.
func (o *staff) tell(violation string) {
	for _, word := range strings.Fields(violation) {
		id := strings.TrimSuffix(word, ":")
		v, known := o.h.final[id]
		if !known {
			continue
		}
		for _, s := range o.h.said {
			if s.id == id {
				o.t.Logf("%s: said %+v", id, s)
			}
		}
		for _, e := range v.events {
			o.t.Logf("%s: %d %s %s by %q %s %v", id, e.Seq, e.Type, e.Status, e.Actor, clock(e.At), e.Details)
		}
		for _, s := range []*sidecar{o.home, o.holder} {
			o.t.Logf("%s: thread at %s: %s", id, s.set.name, s.call("GET", "/v1/inbox/"+id, nil).body)
		}
	}
}

func (o *staff) protest(format string, args ...any) {
	o.mu.Lock()
	o.protests = append(o.protests, fmt.Sprintf(format, args...))
	o.mu.Unlock()
}

func (o *staff) open(seed uint64) {
	body := map[string]any{"every_seconds": 1, "misfire": "all", "intent": message("rota", map[string]any{})}
	var made struct {
		Schedule struct {
			ID string `json:"schedule_id"`
		}
	}
	o.h.period[0] = time.Now()
	o.home.call("POST", "/v1/schedules", body).into(o.t, &made)
	o.schedule = made.Schedule.ID
	o.askers.Go(func() { o.ask(rand.New(rand.NewPCG(seed, 1))) })
	for n := range 2 {
		o.rest.Go(func() { o.decideAll(n, rand.New(rand.NewPCG(seed, uint64(n)+2))) })
	}
	o.rest.Go(o.work)
	o.t.Cleanup(func() {
		o.closing.Store(true)
		o.over.Store(true)
		o.askers.Wait()
		o.rest.Wait()
	})
}

// insist repeats a request until it is answered; code 0: nobody waits for it any more.
func (o *staff) insist(s *sidecar, method, path string, body any, header ...string) answer {
	for !o.over.Load() {
		if a := s.call(method, path, body, header...); a.err == nil && a.code != 503 {
			return a
		}
		time.Sleep(10 * time.Millisecond) // a down sidecar refuses at once
	}
	return answer{}
}

func (o *staff) ask(r *rand.Rand) {
	kinds := []string{askedTask, askedTask, askedTask, askedGated, askedGated, askedReminded, askedExpiring, askedLater}
	for n := 0; !o.closing.Load(); n++ {
		w := wanted{key: fmt.Sprint("key-", n), kind: kinds[n%len(kinds)]}
		to, more := billing, map[string]any{}
		task := map[string]any{"title": "Refund?", "assignees": []string{"deputy"}}
		switch w.kind {
		case askedTask:
			more["human_task"] = task
		case askedReminded:
			task["title"] = left
			more["human_task"], more["remind_after_seconds"], more["remind_interval_seconds"], more["max_reminders"], more["escalate_to"] = task, 1, 1, 1, "boss"
		case askedExpiring:
			task["title"], w.due = left, time.Now().Add(2*time.Second).Truncate(time.Millisecond)
			more["human_task"], more["deadline_at"] = task, w.due.UTC().Format(time.RFC3339Nano)
		case askedLater:
			to, w.due = shop, time.Now().Add(time.Second).Truncate(time.Millisecond)
			more = delivery("deliver_at", w.due.UTC().Format(time.RFC3339Nano))
		case askedGated:
			to = shop
			gates := []any{"manager", billing}
			if r.IntN(2) == 0 {
				gates = []any{map[string]any{"all_of": gates}}
			}
			more = delivery("gates", gates)
		}
		a := o.insist(o.home, "POST", "/v1/intents", message(to, map[string]any{"key": w.key}, more), "Idempotency-Key", w.key)
		var made struct {
			ID string `json:"intent_id"`
		}
		if json.Unmarshal(a.body, &made); made.ID == "" {
			if a.code != 0 {
				o.protest("post %s: %v", w.key, a)
			}
			continue
		}
		w.id = made.ID
		o.h.mu.Lock()
		o.h.wanted = append(o.h.wanted, w)
		o.h.mu.Unlock()
		time.Sleep(time.Duration(20+r.IntN(80)) * time.Millisecond) // who asks has other things to do
	}
}

// decideAll is a person who goes from one sidecar to the other and decides what is there.
func (o *staff) decideAll(who int, r *rand.Rand) {
	for n := 0; !o.over.Load(); n++ {
		s := o.home
		if r.IntN(2) == 0 {
			s = o.holder
		}
		var page struct {
			Tasks []struct {
				ID   string                 `json:"intent_id"`
				Task struct{ Title string } `json:"human_task"`
			}
		}
		a := s.call("GET", "/v1/me/tasks?limit=200", nil)
		if a.err == nil && a.code == 200 {
			_ = json.Unmarshal(a.body, &page) // the checker of openapi.yaml has read it
		}
		seen, ids := map[string]bool{}, []string{}
		for _, one := range page.Tasks {
			if seen[one.ID] {
				o.protest("%s: listed twice", one.ID)
			}
			if seen[one.ID] = true; one.Task.Title != left {
				ids = append(ids, one.ID)
			}
		}
		if len(ids) > 0 {
			id := ids[r.IntN(len(ids))]
			if r.IntN(6) == 0 {
				o.passOn(s, id, "deputy-"+strconv.Itoa(who))
			}
			outcome := "approved"
			if r.IntN(4) == 0 {
				outcome = "rejected"
			}
			decide := o.decide
			if r.IntN(3) == 0 {
				decide = o.decideInInbox
			}
			decide(s, id, fmt.Sprintf("person-%d.%d", who, n), outcome)
		}
		time.Sleep(time.Duration(10+r.IntN(60)) * time.Millisecond) // a person thinks
	}
}

func (o *staff) decide(s *sidecar, id, actor, outcome string) {
	a := o.insist(s, "POST", "/v1/intents/"+id+"/resume", map[string]any{"actor": actor, "task_result": map[string]any{"outcome": outcome}}, "Idempotency-Key", actor)
	var got struct{ Details struct{ Provisional bool } }
	if a.code == 200 && json.Unmarshal(a.body, &got) != nil || a.code != 200 && a.code != 409 && a.code != 0 {
		o.protest("%s: decided by %s: %v", id, actor, a)
	}
	o.heard(saying{id, actor, outcome, a.code, got.Details.Provisional, s.set.name, time.Now()})
}

// decideInInbox is decide on the thread, where a decision that is there already is
// answered to whoever says the same.
func (o *staff) decideInInbox(s *sidecar, id, key, outcome string) {
	verb := map[string]string{"approved": "approve", "rejected": "reject"}[outcome]
	a := o.insist(s, "POST", "/v1/inbox/"+id+"/"+verb, map[string]any{}, "Idempotency-Key", key)
	var got struct {
		Thread struct {
			Decision struct {
				Decision    string
				By          string `json:"decided_by"`
				Provisional bool
			}
		}
	}
	d := &got.Thread.Decision
	if a.code == 200 && (json.Unmarshal(a.body, &got) != nil || d.Decision != verb) || a.code != 200 && a.code != 409 && a.code != 0 {
		o.protest("%s: %s in an inbox: %v", id, verb, a)
	}
	o.heard(saying{id, d.By, outcome, a.code, d.Provisional, s.set.name, time.Now()})
}

func (o *staff) heard(s saying) {
	o.h.mu.Lock()
	o.h.said = append(o.h.said, s)
	o.h.mu.Unlock()
}

func (o *staff) passOn(s *sidecar, id, to string) {
	a := o.insist(s, "POST", "/v1/inbox/"+id+"/delegate", map[string]any{"delegate_to": to})
	if a.code != 200 && a.code != 0 {
		o.protest("%s: passed on to %s: %v", id, to, a)
	}
	if a.code == 200 {
		o.h.mu.Lock()
		o.h.passed = append(o.h.passed, passing{id: id, to: to, has: false})
		o.at = append(o.at, s)
		o.h.mu.Unlock()
	}
}

// work is the app that gets what was approved, or was to come later.
func (o *staff) work() {
	for !o.over.Load() {
		items, a := o.home.tryPoll(shop, take{limit: 16, wait: 1, lease: 3})
		if a.err != nil || a.code != 200 {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		for _, it := range items {
			o.h.mu.Lock()
			o.h.handed[it.ID] = append(o.h.handed[it.ID], time.Now())
			o.h.mu.Unlock()
			o.insist(o.home, "POST", "/v1/intents/"+it.ID+"/ack", map[string]any{"lease_id": it.Lease})
		}
	}
}

// close lets all that is asked come to its end, and reads what became of it.
func (o *staff) close() {
	o.closing.Store(true)
	o.askers.Wait()
	o.h.period[1] = time.Now()
	if a := o.home.call("DELETE", "/v1/schedules/"+o.schedule, nil); a.code != 200 {
		o.t.Fatal(a)
	}
	for _, w := range o.h.wanted {
		if w.kind != askedReminded {
			continue
		}
		eventually(o.t, "what is left lying is escalated", func() error {
			if v := (lot{events: o.home.events(w.id)}); v.times("escalated", "") == 0 {
				return fmt.Errorf("%s is not", w.id)
			}
			return nil
		})
		o.decide(o.home, w.id, "closer", "approved")
	}
	o.h.final = map[string]lot{}
	eventually(o.t, "all that was asked has ended", func() error {
		for _, w := range o.h.wanted {
			if _, had := o.h.final[w.id]; had {
				continue
			}
			v := o.lotOf(w.id)
			if !terminal(v.status) {
				return fmt.Errorf("%s, a %s, is %s", w.id, w.kind, v.status)
			}
			o.h.final[w.id] = v
		}
		return nil
	})
	o.over.Store(true)
	o.rest.Wait()
	for _, w := range o.h.wanted {
		v := o.h.final[w.id]
		for _, g := range v.gates {
			if g.Asks != "" {
				o.h.final[g.Asks] = o.shownThere(g.Asks)
			}
		}
		if w.kind == askedTask || w.kind == askedReminded || w.kind == askedExpiring {
			o.h.final[w.id] = o.shownThere(w.id)
		}
	}
	for i := range o.h.passed {
		p := &o.h.passed[i]
		p.has = o.at[i].call("GET", "/v1/inbox/"+p.id+"?owner_agent="+p.to, nil).code == 200
	}
	for _, one := range o.home.listAll("to_agent=rota") {
		ms, err := strconv.ParseInt(strings.ReplaceAll(one.ID, "-", "")[:12], 16, 64) // the time it was made for
		if err != nil {
			o.t.Fatal(err)
		}
		o.h.made = append(o.h.made, time.UnixMilli(ms))
	}
}

func (o *staff) lotOf(id string) lot {
	var got struct {
		Intent struct {
			Status string
			Gates  []gateView
		}
	}
	if a := o.home.call("GET", "/v1/intents/"+id, nil); a.code != 200 || json.Unmarshal(a.body, &got) != nil {
		return lot{status: a.String()}
	}
	return lot{status: got.Intent.Status, gates: got.Intent.Gates, events: o.home.events(id)}
}

// shownThere is lotOf with who has decided as people elsewhere see it, once word has come.
func (o *staff) shownThere(id string) (v lot) {
	v = o.lotOf(id)
	eventually(o.t, "the other sidecar shows who has decided", func() error {
		var th struct {
			Thread struct {
				Status   string
				Decision struct {
					By string `json:"decided_by"`
				}
			}
		}
		a := o.holder.call("GET", "/v1/inbox/"+id, nil)
		if a.code == 404 {
			return nil // it was decided before it came there, or it is none of theirs
		}
		if err := json.Unmarshal(a.body, &th); err != nil || th.Thread.Status != "done" {
			return fmt.Errorf("%s there is %v", id, a)
		}
		v.there = th.Thread.Decision.By
		if by := v.decidedBy(); v.there != by {
			return fmt.Errorf("%s is decided by %q, and there by %q: %s", id, by, v.there, a.body)
		}
		return nil
	})
	return v
}
