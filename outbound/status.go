package outbound

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// PeerStatus is what is known of one address, for operators.
type PeerStatus struct {
	Address   string         `json:"address"`
	JournalID string         `json:"journal_id"`
	Epoch     uint64         `json:"epoch"`
	State     string         `json:"state"`   // connecting, open, down, breaker_open, idle, journal_put_back (ours), peer_put_back
	Breaker   string         `json:"breaker"` // closed, open, half_open
	Agents    []string       `json:"agents"`
	LastError string         `json:"last_error"`
	Held      int            `json:"held"`   // intents unsettled there
	Credit    map[string]int `json:"credit"` // how many more it takes, by agent
	NextTry   *time.Time     `json:"next_try,omitempty"`
	OutSince  *time.Time     `json:"out_since,omitempty"`   // since when a stream is wanted, and there is none
	GivenUpAt *time.Time     `json:"given_up_at,omitempty"` // when what it holds is offered elsewhere, unless it is back
	// ClockAheadMs is how far its clock was ahead of ours when the stream began; negative:
	// behind. Nothing is decided by it.
	ClockAheadMs *int64 `json:"clock_ahead_ms,omitempty"`

	// BreakerForced: an operator has opened it.
	BreakerForced bool `json:"breaker_forced,omitempty"`
	// Opens says when the breaker opens, and for how long the next time.
	Opens Opens `json:"breaker_opens"`
	// Serves is what discovery and policy say of it, by agent: those of Agents, and
	// those something is due for.
	Serves []Served `json:"serves"`
}

// Opens are the terms of a breaker in force: the most careful of what is asked for
// by the policies of the agents an address serves.
type Opens struct {
	After    int    `json:"after"` // failures in a row
	Interval string `json:"interval"`
	Least    string `json:"least"`
	Most     string `json:"most"`
}

// Served is an agent at an endpoint.
type Served struct {
	Agent    string `json:"agent"`
	Health   string `json:"health"`
	Zone     string `json:"zone,omitempty"`
	Priority int    `json:"priority"`
	Subset   string `json:"subset,omitempty"`
	Policy   Policy `json:"policy"`
}

// servedMost bounds the agents listed of one address.
const servedMost = 100

// Peers lists every address there is a link to, and every holder without one.
func (d *Dispatcher) Peers() []PeerStatus {
	out := d.peers()
	for i := range out {
		out[i].Serves = d.served(out[i])
	}
	return out
}

// served asks the directory, without the lock.
func (d *Dispatcher) served(p PeerStatus) []Served {
	all := []Served{}
	for _, s := range p.Serves {
		s.Health, s.Policy = "", d.dir.Policy(s.Agent)
		eps, _ := d.dir.Endpoints(s.Agent)
		for _, ep := range eps {
			if ep.Address == p.Address {
				s.Health, s.Zone, s.Priority, s.Subset = ep.Health.String(), ep.Zone, ep.Priority, ep.Subset
			}
		}
		all = append(all, s) // without health: discovery no longer names it
	}
	return all
}

func (d *Dispatcher) peers() []PeerStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	due := map[*link][]string{}
	for _, dst := range d.mu.dests {
		for _, l := range dst.links {
			if !dst.lane && len(due[l]) < servedMost {
				due[l] = append(due[l], dst.name)
			}
		}
	}
	now := time.Now()
	out := make([]PeerStatus, 0, len(d.mu.links))
	shown := map[string]bool{}
	for _, l := range d.mu.links {
		p := d.status(l, now)
		shown[p.JournalID] = true
		names := append(due[l], p.Agents...)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			p.Serves = append(p.Serves, Served{Agent: name})
		}
		out = append(out, p)
	}
	for _, h := range d.mu.holders {
		if h.session == nil && (h.held > 0 || h.owed > 0) && !shown[h.id.String()] {
			p := PeerStatus{
				Address: h.address, JournalID: h.id.String(), Epoch: h.epoch, State: "down", Breaker: breakerClosed,
				Agents: []string{}, Held: h.held, Credit: map[string]int{}, OutSince: set(h.since), GivenUpAt: set(h.deadline),
			}
			if l := d.mu.links[h.address]; l != nil && l.session != nil {
				p.LastError = errReplaced.Error()
			}
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b PeerStatus) int {
		switch {
		case a.Address < b.Address:
			return -1
		case a.Address > b.Address:
			return 1
		}
		return 0
	})
	return out
}

// status describes one link. Called with mu held.
func (d *Dispatcher) status(l *link, now time.Time) PeerStatus {
	p := PeerStatus{Address: l.address, State: phaseNames[l.phase], LastError: l.lastError, Agents: []string{}, Credit: map[string]int{}, OutSince: set(l.outSince)}
	var gate time.Time
	p.Breaker, gate = l.breaker.status(now)
	p.BreakerForced, p.Opens = l.breaker.inForce()
	if s := l.session; s != nil {
		p.JournalID, p.Epoch, p.Held = s.peer.Journal.String(), s.peer.Epoch, s.held
		if s.clocked {
			p.ClockAheadMs = new(s.ahead.Milliseconds())
		}
		for _, pr := range s.pairs {
			if lane := strings.HasSuffix(pr.agent, laneKey("")); !lane && len(p.Agents) < servedMost {
				p.Agents = append(p.Agents, pr.agent)
				p.Credit[pr.agent] = max(0, pr.window-pr.out)
			}
		}
		slices.Sort(p.Agents)
		return p
	}
	if h := d.lastHolder(l.address); h != nil {
		p.JournalID, p.Epoch, p.Held = h.id.String(), h.epoch, h.held
		if h.held+h.owed > 0 {
			p.GivenUpAt = set(h.deadline)
		}
	}
	switch {
	case l.oldCopy != nil:
		p.State = l.putBack().String()
	case p.Breaker == breakerOpen && l.wanted:
		p.State = "breaker_open"
	}
	if next := later(gate, l.notBefore); l.wanted && next.After(now) {
		p.NextTry = &next
	}
	return p
}

// set is a time that is known.
func set(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// GivenUpAt is when a holder without a stream is given up for lost; zero: it is not, or is none.
func (d *Dispatcher) GivenUpAt(holder journal.ID) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.mu.holders[holder]; h != nil && h.session == nil {
		return h.deadline
	}
	return time.Time{}
}

// HeldBy returns the journal that has said held of an intent, also before that is
// on record; zero where none has.
func (d *Dispatcher) HeldBy(id journal.ID) journal.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.mu.unsettled[id]; p != nil {
		return p.session.peer.Journal
	}
	return journal.ID{}
}

// Why says what an intent to this agent, or a completion, waits for, as far as this side knows. Of
// several endpoints each has its cause.
func (d *Dispatcher) Why(id journal.ID, agent string, completion bool) []state.Delay {
	now := time.Now()
	local, window := d.localWindow(agent, completion)
	key, shut := agent, d.local.Shut(agent)
	if completion {
		key, shut = laneKey(agent), state.NoCause
	}
	eps, known := d.dir.Endpoints(agent)
	policy := d.dir.Policy(agent)
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []state.Delay
	if f := d.mu.flights[id]; f != nil && f.stage == sent {
		return append(out, state.Delay{Cause: state.CauseOffered, Peer: f.session.link.address, Until: f.frame.deadline})
	} else if f != nil && f.stage == owed {
		h := d.mu.holders[f.holder.Journal]
		out = append(out, state.Delay{Cause: state.CauseHolderUnreachable, Peer: h.address, Until: h.deadline})
		if l := d.mu.links[h.address]; l != nil && d.sessionOf(l) == nil {
			cause, until := l.obstacle(now)
			out = append(out, state.Delay{Cause: cause, Peer: h.address, Until: until, Said: l.lastError})
		}
		return out // before it is given up no other is offered it, whatever it would take
	}
	if policy.Paused {
		return append(out, state.Delay{Cause: state.CausePaused})
	}
	if f := d.mu.flights[id]; f != nil && f.stage == claimed && f.until.After(now) {
		return append(out, state.Delay{Cause: state.CauseFaultInjected, Peer: f.session.link.address, Until: f.until})
	}
	dst := d.mu.byName[key]
	if dst == nil {
		// Nothing of it is due: judge as if the first were.
		dst = &dest{key: key, lane: completion, oldOpen: true, policy: policy}
	}
	options := dst.allowed(id, d.look(dst, eps, now))
	if !dst.oldOpen && !dst.knownSince.IsZero() {
		out = append(out, state.Delay{Cause: state.CauseUncleanWait, Until: dst.knownSince.Add(d.opt.UncleanWait)})
	}
	switch {
	case local && window > 0:
		return append(out, state.Delay{Cause: state.CauseOffering})
	case local:
		out = append(out, state.Delay{Cause: cmp.Or(shut, state.CauseNoCredit), Peer: d.self.Address, Until: dst.localPause})
	case len(options) == 0 && !known:
		return append(out, state.Delay{Cause: state.CauseDiscoveryPending})
	case len(options) == 0 && len(dst.policy.Split) == 0:
		return append(out, state.Delay{Cause: state.CauseNoEndpoint})
	}
	if len(dst.policy.Split) > 0 && !slices.ContainsFunc(options, func(o option) bool { return o.usable || o.free > 0 }) {
		out = append(out, state.Delay{Cause: state.CauseNoSubset})
	}
	for _, o := range options {
		if o.free > 0 {
			return append(out, state.Delay{Cause: state.CauseOffering, Peer: o.Address})
		}
		out = append(out, state.Delay{Cause: o.cause, Peer: o.Address, Until: o.until, Said: o.said()})
	}
	return out
}

// refuses reports whether it has said that it takes nothing for now.
func (o *option) refuses() bool {
	return o.cause == state.CauseRefused || o.cause == state.CausePeerDiskFull
}

// outOfReach are the causes that the last error of a link says more of.
var outOfReach = []state.Cause{state.CauseBreakerOpen, state.CauseConnecting, state.CausePutBack, state.CausePeerPutBack}

// said is what went wrong last with an endpoint that cannot be used for that.
func (o *option) said() string {
	switch {
	case o.why != nil:
		return o.why.Error()
	case o.link != nil && slices.Contains(outOfReach, o.cause):
		return o.link.lastError // of a stream that is open there is none
	}
	return ""
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
