package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
	"pannier/proxy/trace"
	"pannier/proxy/webhook"
)

// Options of the app API. The zero value of every field is usable.
type Options struct {
	BodyTime     time.Duration // for a client to send a body; 0: 30 s
	BodyWait     time.Duration // of a large body for others to be read and stored, until it is refused; 0: 5 s
	MaxBody      int           // bytes of a request body, the payload and all around it; of a batch, of each item; 0: 1 MiB
	Hosts        []string      // names allowed in Host beside those of loopback
	DefaultAgent string        // sender of an intent that names none; "": anonymous
	Version      string        // shown by the health routes

	// Identify tells whose key this is, nil for nobody's; it takes the same time
	// for every wrong key. Without it no key is asked for.
	Identify func(key string) *Caller
	// AnyHost takes any Host header: beyond loopback our names are not known, and
	// a page that was made to send there has no key.
	AnyHost bool

	// AskHome asks the home of an intent that is only held here for its
	// events; nil: such a home counts as out of reach.
	AskHome func(ctx context.Context, home journal.ID, ask *peer.Ask) (*peer.Answer, error)
	// Redrive makes the successor of a dead letter, wherever it is homed; nil: of
	// those homed here.
	Redrive func(context.Context, journal.Redrive) (journal.Redriven, error)

	// Tracer makes spans of what is done here; nil: none.
	Tracer *trace.Tracer
	// NoTraceHeaders takes no trace context from headers: an event may still bring its own.
	NoTraceHeaders bool

	// Served is told of each request that has been answered; nil: nobody counts.
	Served func(Served)

	// Notifies finds the target of notifications with that name (empty: the only one there
	// is) and says why it cannot tell whom an address stands for, empty for whoever it is for.
	Notifies func(target, to string) (name string, err error)
	// MaySend says why the app may not send such an intent from here; nil: it may.
	MaySend func(from, to, intentType string) error

	// CheckCallback says what is wrong with a URL that events are to be sent to;
	// nil: only loopback will do.
	CheckCallback func(url string) error
	// Subscribed is called when subscriptions have changed; nil: nobody sends.
	Subscribed func()
}

const (
	defaultMaxBody = 1 << 20
	anonymous      = "anonymous"
)

// Mailbox hands intents to the app and takes its answers.
type Mailbox interface {
	// Pull leases intents of the agent, and waits for one up to Wait. It
	// returns none and no error when the wait is over or ctx ends.
	Pull(ctx context.Context, p inbound.PullRequest) ([]journal.Handed, error)
	// TakeBack undoes hand-overs that a pull has returned and nobody was sent.
	TakeBack(ctx context.Context, got []journal.Handed) error
	// OpenStream begins a response of the agent's stream on a connection.
	OpenStream(agent string, since uint64, conn *inbound.Conn) *inbound.Stream
	NewConn() *inbound.Conn
	// Settle returns once the answers are durable, one result for each.
	Settle(ctx context.Context, s []journal.Settle) ([]journal.Settled, error)
	// Why says what an intent held here waits for.
	Why(id journal.ID) []state.Delay
	// Served lists the agents served here, at most n.
	Served(n int) []string
	// SetKilled stops hand-overs to the agent, or lets them go on, durably.
	SetKilled(ctx context.Context, agent string, killed bool, actor string) error
}

// Dispatcher offers intents to the sidecars that serve their agents.
type Dispatcher interface {
	// Why says what an intent to the agent waits for before it is held.
	Why(id journal.ID, agent string, completion bool) []state.Delay
	// HeldBy is the journal that has an intent, also before that is on record;
	// zero: none.
	HeldBy(id journal.ID) journal.ID
	// GivenUpAt is when what a holder out of reach holds is offered elsewhere; zero: not known.
	GivenUpAt(holder journal.ID) time.Time
	// Ask asks the holder of an intent.
	Ask(ctx context.Context, id, holder journal.ID, what peer.Ask_What) (*peer.Answer, error)
}

// API serves the app. It is safe for concurrent use.
type API struct {
	opt        Options
	journal    *journal.Journal
	mailbox    Mailbox
	dispatcher Dispatcher
	log        *slog.Logger
	mux        *http.ServeMux
	hosts      map[string]bool
	compiled   compiled
	bodies     room // of requests
	answers    room

	figures figures

	beats beats
	keys  struct {
		sync.Mutex
		changed chan struct{} // closed by KeysChanged
	}

	drain    chan struct{} // closed by Drain
	draining sync.Once

	activity struct {
		sync.Mutex
		open int
		last time.Time // when a request last ended
	}
}

// New returns the app API. It starts nothing.
func New(o Options, j *journal.Journal, m Mailbox, d Dispatcher, log *slog.Logger) *API {
	if o.MaxBody <= 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.DefaultAgent == "" {
		o.DefaultAgent = anonymous
	}
	if o.CheckCallback == nil {
		o.CheckCallback = func(url string) error { return webhook.CheckCallback(url, nil) }
	}
	if o.Served == nil {
		o.Served = func(Served) {}
	}
	if o.Notifies == nil {
		o.Notifies = func(string, string) (string, error) {
			return "", errors.New("cannot be: this sidecar tells nobody anything; have a target added under notify in its config file")
		}
	}
	if o.MaySend == nil {
		o.MaySend = func(string, string, string) error { return nil }
	}
	if o.Subscribed == nil {
		o.Subscribed = func() {}
	}
	a := &API{opt: o, journal: j, mailbox: m, dispatcher: d, log: log, drain: make(chan struct{})}
	most := roomOf(memoryLimit(), o.MaxBody)
	a.bodies, a.answers = newRoom(most), newRoom(most)
	if a.opt.Redrive == nil {
		a.opt.Redrive = j.Redrive
	}
	a.beats.of = map[string]*beat{}
	a.keys.changed = make(chan struct{})
	a.hosts = allowedHosts(o.Hosts)
	a.mux = a.newMux()
	return a
}

// Handler returns the app API's routes behind its guards.
func (a *API) Handler() http.Handler { return http.HandlerFunc(a.serve) }

// Drain refuses new intents from now on (503, Retry-After 1) and ends open
// streams and polls with 200. Answers to leased intents are still taken.
func (a *API) Drain() { a.draining.Do(func() { close(a.drain) }) }

func (a *API) isDraining() bool {
	select {
	case <-a.drain:
		return true
	default:
		return false
	}
}

// Active returns how many requests are open, and when the last one ended. An
// idle connection is no request.
func (a *API) Active() (open int, last time.Time) {
	a.activity.Lock()
	defer a.activity.Unlock()
	return a.activity.open, a.activity.last
}

func (a *API) begin() {
	a.activity.Lock()
	defer a.activity.Unlock()
	a.activity.open++
}

func (a *API) end() {
	a.activity.Lock()
	defer a.activity.Unlock()
	a.activity.open--
	a.activity.last = time.Now()
}
