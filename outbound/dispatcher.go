package outbound

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"pannier/journal"
	"pannier/journal/state"
)

// Endpoint is a sidecar that serves an agent.
type Endpoint struct {
	Address  string // host:port of its peer listener
	Zone     string
	Priority int // 0 first; the next when none of these can be used
	Health   Health
	Subset   string // what a Share names; empty for most
}

// Directory says where agents live. It is asked often and must answer from
// memory; safe concurrently.
type Directory interface {
	// Endpoints returns the sidecars that serve an agent, this one left out.
	// known is false while nothing has been heard of the agent's place.
	Endpoints(agent string) (eps []Endpoint, known bool)
	// Policy returns the traffic policy of an agent.
	Policy(agent string) Policy
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
}

// Local is our own mailbox. Its methods are called without any lock of the
// dispatcher held.
type Local interface {
	Serves(agent string) bool
	// Window is how many more it takes now.
	Window(agent string) int
	// Shut is why the agent's app is handed nothing; NoCause while it is.
	Shut(agent string) state.Cause
	// Take moves the offers into the mailbox, one commit; it returns when they
	// are durable there. A result with an error is offered again.
	Take(ctx context.Context, agent string, offers []journal.Offer) ([]journal.HoldResult, error)
}

// Dispatcher offers what is due to the sidecars that serve its destination and
// keeps the streams to them. All methods are safe for concurrent use.
type Dispatcher struct {
	opt     Options
	journal *journal.Journal
	self    Self
	dir     Directory
	local   Local
	dial    []grpc.DialOption
	trust   Trust // nil: channels prove nothing
	tracer  Tracer
	log     *slog.Logger
	fits    func(intentType string, payload []byte) error
	told    Told

	started time.Time
	unclean bool
	wake    chan struct{} // there is something for the loop
	settled chan struct{} // an owed answer came: for Drain
	tasks   sync.WaitGroup

	mu struct {
		sync.Mutex
		dests  map[journal.Agent]*dest // with something due or in flight
		byName map[string]*dest
		ready  []*dest // to be served, in turn
		hungry []*dest // wait for room in the queues to the peers
		alarms alarms  // when destinations matter again

		flights   map[journal.ID]*flight // bounded by credit
		unsettled map[journal.ID]*pair   // held elsewhere and counted against credit
		bytes     int                    // of envelopes claimed and not yet written

		// While a claim reads the journal, what would make it return an intent
		// that is no longer to be offered is kept for its end.
		claiming bool
		ended    map[journal.ID]struct{}
		changed  map[journal.ID]journal.Policy // what it may not have seen yet
		recorded []*flight

		links    map[string]*link
		idle     []*link // made, but not yet started
		holders  map[journal.ID]*holder
		lostAt   time.Time // the earliest deadline of a holder without a stream
		draining bool
	}
}

// New returns a dispatcher that does nothing until Run. dial carries the
// credentials.
func New(o Options, j *journal.Journal, self Self, dir Directory, local Local, dial []grpc.DialOption, log *slog.Logger) *Dispatcher {
	d := &Dispatcher{
		opt: o, journal: j, self: self, dir: dir, local: local, dial: dial, log: log,
		fits:    func(string, []byte) error { return nil },
		tracer:  untraced{},
		started: time.Now(), unclean: j.Stats().Unclean,
		wake: make(chan struct{}, 1), settled: make(chan struct{}, 1),
	}
	d.mu.dests = map[journal.Agent]*dest{}
	d.mu.byName = map[string]*dest{}
	d.mu.flights = map[journal.ID]*flight{}
	d.mu.unsettled = map[journal.ID]*pair{}
	d.mu.ended = map[journal.ID]struct{}{}
	d.mu.changed = map[journal.ID]journal.Policy{}
	d.mu.links = map[string]*link{}
	d.mu.holders = map[journal.ID]*holder{}
	return d
}

// HoldTo sets what says how the payload of a successor that is asked for by a holder
// does not fit the schema of its type. Call it before Run.
func (d *Dispatcher) HoldTo(fits func(intentType string, payload []byte) error) { d.fits = fits }

// Run dispatches until ctx ends, and returns when everything it started has.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer d.tasks.Wait()
	if err := d.load(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	changed := d.dir.Changed()
	for {
		d.housekeep(ctx, time.Now())
		for d.turn(ctx) {
		}
		timer.Reset(d.sleep(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		case <-changed:
			// The new channel first: a change after it is not missed.
			changed = d.dir.Changed()
			d.recall()
			d.wakeAll()
		}
	}
}

// load takes in what the journal knows at the start: destinations with
// something due, and holders. Every one of these is dialed: they may hold
// something of ours, or have reports.
func (d *Dispatcher) load() error {
	holders, err := d.journal.Holders()
	if err != nil {
		return err
	}
	counts := make([]int, len(holders))
	for i, h := range holders {
		if counts[i], err = d.countHeld(h.ID); err != nil {
			return err
		}
	}
	due := d.journal.DueAgents()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for i, info := range holders {
		h := &holder{id: info.ID, epoch: info.Epoch, address: info.Address, ephemeral: info.Ephemeral, agents: info.Agents, seen: info.Seen, held: counts[i], since: now}
		d.mu.holders[info.ID] = h
		d.away(h, now)
		if info.Address != "" {
			d.link(info.Address).want()
		}
	}
	for _, a := range due {
		d.queue(d.dest(a), true)
	}
	return nil
}

// housekeep acts on what time has brought, and starts what others have asked
// for: only the loop of Run starts anything.
func (d *Dispatcher) housekeep(ctx context.Context, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dst := range d.mu.alarms.past(now) {
		d.queue(dst, false)
	}
	for _, h := range d.overdue(now) {
		d.tasks.Go(func() { d.lose(ctx, h) })
	}
	d.startLinks(ctx)
}

// startLinks runs the links that survey, load or Knocked have made.
func (d *Dispatcher) startLinks(ctx context.Context) {
	for _, l := range d.mu.idle {
		d.tasks.Go(func() { l.run(ctx) })
	}
	d.mu.idle = d.mu.idle[:0]
}

func (d *Dispatcher) sleep(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := now.Add(time.Minute)
	if len(d.mu.alarms) > 0 && d.mu.alarms[0].at.Before(next) {
		next = d.mu.alarms[0].at
	}
	if !d.mu.lostAt.IsZero() && d.mu.lostAt.Before(next) {
		next = d.mu.lostAt
	}
	return max(0, next.Sub(now))
}

// turn serves the next destination in turn and reports whether there are more.
func (d *Dispatcher) turn(ctx context.Context) bool {
	d.mu.Lock()
	if len(d.mu.ready) == 0 || d.mu.draining || ctx.Err() != nil {
		d.mu.Unlock()
		return false
	}
	dst := d.mu.ready[0]
	d.mu.ready = d.mu.ready[1:]
	dst.queued = false
	d.mu.Unlock()

	again := d.serve(ctx, dst)

	d.mu.Lock()
	defer d.mu.Unlock()
	d.startLinks(ctx)
	if again {
		d.queue(dst, false)
	} else {
		d.retire(dst)
	}
	return true
}

func (d *Dispatcher) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Due is the journal's hook: the due index of a destination gained an entry.
func (d *Dispatcher) Due(a journal.Agent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue(d.dest(a), true)
}

// LocalWindow says that our own mailbox takes more of an agent.
func (d *Dispatcher) LocalWindow(agent string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range []string{agent, laneKey(agent)} {
		if dst := d.mu.byName[key]; dst != nil {
			dst.localPause = time.Time{}
			d.queue(dst, false)
		}
	}
}

// Ended is the journal's hook: an intent ended that another journal may hold.
// Its holder is told, and so is whoever was offered it. One that cannot be told
// now lists it at its next reconcile, and is told then.
func (d *Dispatcher) Ended(e journal.Ended) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.claiming {
		d.mu.ended[e.ID] = struct{}{}
	}
	tell := d.whoHas(e.ID, e.Holder)
	d.free(e.ID)
	if dst := d.mu.dests[e.Agent]; dst != nil {
		delete(dst.rejects, e.ID)
	}
	if f := d.mu.flights[e.ID]; f != nil {
		switch f.stage {
		case claimed, owed:
			d.drop(f)
		case sent:
			f.ended = true
		}
	}
	for s := range tell {
		if _, own := s.answering[e.ID]; !own {
			s.out.revoke(journal.Verdict{ID: e.ID, OfferNo: e.OfferNo, Ended: true, Status: e.Status, Reason: e.Reason, Events: e.Events})
		}
	}
}

// Continued is the journal's hook: a word at home lets an intent go on that
// another journal may hold. Whoever cannot be told now lists a lower number
// at its next reconcile, and is told then.
func (d *Dispatcher) Continued(c journal.Continued) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.mu.flights[c.ID]; f != nil && f.stage == claimed {
		f.offer.Continued = c.No
	}
	for s := range d.whoHas(c.ID, c.Holder) {
		s.out.update(c)
	}
}

// Changed is the journal's hook: options of an intent changed that another journal
// may hold. Whoever has it is told, also while its offer is on the way; one that
// cannot be told now lists an older generation at its next reconcile.
func (d *Dispatcher) Changed(p journal.Policy) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.claiming {
		d.mu.changed[p.ID] = p
	}
	if f := d.mu.flights[p.ID]; f != nil && f.stage == claimed {
		f.offer.Policy = p
	}
	for s := range d.whoHas(p.ID, p.Holder) {
		s.out.change(p)
	}
}

// whoHas returns the sessions of all who hold an intent, or were offered it.
// Called with mu held.
func (d *Dispatcher) whoHas(id, holder journal.ID) map[*session]struct{} {
	has := map[*session]struct{}{}
	if h := d.mu.holders[holder]; h != nil && h.session != nil {
		has[h.session] = struct{}{}
	}
	if p := d.mu.unsettled[id]; p != nil {
		has[p.session] = struct{}{}
	}
	if f := d.mu.flights[id]; f != nil && f.stage == sent {
		has[f.session] = struct{}{}
	}
	return has
}

// Drain offers nothing new and returns when every offer that was sent is
// answered, or ctx ends. What is still unanswered then is put on record as
// held: the next start asks that holder before anybody else gets it.
func (d *Dispatcher) Drain(ctx context.Context) {
	d.mu.Lock()
	d.mu.draining = true
	for _, f := range d.mu.flights {
		if f.stage == claimed {
			d.drop(f) // never left: it stays due
		}
	}
	d.mu.Unlock()
	for d.unanswered() > 0 {
		select {
		case <-d.settled:
			continue
		case <-ctx.Done():
		}
		break
	}
	d.recordUnanswered()
}
