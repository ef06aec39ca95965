package api

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	// maxBeats bounds the agents whose heartbeats are kept.
	maxBeats = 10_000
	// SDKs send a heartbeat each 30 s: three are missing, or ten.
	degradedAfter    = 90 * time.Second
	unreachableAfter = 5 * time.Minute
	beatDays         = 31
)

// beats are the heartbeats of agents. They are in memory only: after a start
// the health of an agent is unknown until the next one, and nothing here rests
// on it.
type beats struct {
	sync.Mutex
	of map[string]*beat
}

type beat struct {
	last time.Time
	days [beatDays]day // by number of the day
}

// day is what an agent reported in one day of UTC.
type day struct {
	number  int64
	intents float64
	cost    float64
}

// reported are the counters of a heartbeat, since the one before.
type reported struct {
	IntentsTotal     *float64 `json:"intents_total"`
	IntentsSucceeded *float64 `json:"intents_succeeded"`
	IntentsFailed    *float64 `json:"intents_failed"`
	AvgLatencyMs     *float64 `json:"avg_latency_ms"`
	CostUSD          *float64 `json:"cost_usd"`
}

// heartbeat serves POST /v1/mesh/heartbeat. It names no agent: it is of the
// key's, or without keys of owner_agent or the sidecar's first.
func (a *API) heartbeat(w http.ResponseWriter, r *http.Request) error {
	raw, err := a.readBody(w, r, a.opt.MaxBody)
	if err != nil {
		return err
	}
	var got reported
	if raw != nil {
		if got, err = readReported(raw); err != nil {
			return err
		}
	}
	agent, err := a.speaker(r)
	if err != nil {
		return err
	}
	if !a.beats.note(agent, got, time.Now()) {
		return refuse(codeTooManyAgents, "heartbeats of %d agents are kept, and this is one more", maxBeats)
	}
	status := "healthy"
	if a.journal.Killed(agent) {
		status = "killed"
	}
	d := newDoc()
	defer d.free()
	return answer(w, d.open('{').boolean("ok", true).str("status", status).close('}'))
}

func readReported(raw []byte) (got reported, err error) {
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return got, err
	}
	if metrics := body.object("metrics"); metrics != nil {
		if json.Unmarshal(metrics, &got) != nil {
			body.fault("metrics", codeSchemaInvalid, "must be an object of numbers")
		}
	}
	for _, n := range []*float64{got.IntentsTotal, got.IntentsSucceeded, got.IntentsFailed, got.AvgLatencyMs, got.CostUSD} {
		if n != nil && (*n < 0 || *n > 1e15) {
			body.fault("metrics", codeSchemaInvalid, "has a number that is negative or out of bounds")
			break
		}
	}
	return got, faultsOf(faults)
}

// speaker is the agent a request is of that names none in its body.
func (a *API) speaker(r *http.Request) (string, error) {
	c := callerOf(r)
	if given := owner(r); given != someApp {
		agent, err := Address(given)
		if err != nil || c.May(agent) {
			return agent, err
		}
		// A bare name that was let in stands for an agent of the key: its first.
	}
	if c == nil {
		return a.opt.DefaultAgent, nil
	}
	if c.self() == "" {
		return "", refuse(codeInvalidRequest, "the key speaks for more agents than one: say with owner_agent which this is")
	}
	return c.self(), nil
}

// note keeps a heartbeat; false where there are too many agents.
func (b *beats) note(agent string, got reported, now time.Time) bool {
	b.Lock()
	defer b.Unlock()
	of := b.of[agent]
	if of == nil {
		if len(b.of) >= maxBeats {
			return false
		}
		of = &beat{}
		b.of[agent] = of
	}
	of.last = now
	n := dayOf(now)
	today := &of.days[n%beatDays]
	if today.number != n {
		*today = day{number: n}
	}
	if got.IntentsTotal != nil {
		today.intents += *got.IntentsTotal
	}
	if got.CostUSD != nil {
		today.cost += *got.CostUSD
	}
	return true
}

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 3600) }

// read returns when the last heartbeat of an agent came, zero for none, and
// what it reported today and in the days before, so many in all.
func (b *beats) read(agent string, days int64, now time.Time) (last time.Time, intents, cost float64) {
	b.Lock()
	defer b.Unlock()
	of := b.of[agent]
	if of == nil {
		return time.Time{}, 0, 0
	}
	for _, d := range of.days {
		if age := dayOf(now) - d.number; age >= 0 && age < days {
			intents, cost = intents+d.intents, cost+d.cost
		}
	}
	return of.last, intents, cost
}

// agents lists those that have sent one.
func (b *beats) agents() []string {
	b.Lock()
	defer b.Unlock()
	out := make([]string, 0, len(b.of))
	for agent := range b.of {
		out = append(out, agent)
	}
	return out
}
