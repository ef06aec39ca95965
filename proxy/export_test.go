package proxy

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"pannier/journal"
	"pannier/outbound"
	"pannier/proxy/admin"
	"pannier/proxy/api"
	"pannier/proxy/mesh"
)

var (
	OpenKeys     = openKeys
	OpenPeople   = openPeople
	Listen       = listen
	LoopbackOnly = loopbackOnly
	RecordsCheck = recordsCheck
	CopiesCheck  = copiesCheck
	StrangersIn  = strangersIn
	JournalCheck = journalCheck

	ConnectionsCheck = connectionsCheck
)

// Shares are the parts of so many files: for the listeners api, peer and each of the three
// of operators and people, for dials of peers, and for calls of apps.
func Shares(files uint64) [5]int {
	s := shares(files)
	return [5]int{s.api, s.peer, s.operators, s.dials, s.calls}
}

// ParseConfig reads a config file over the options.
func ParseConfig(file string, content []byte, o *Options) error {
	_, err := parseConfig(file, content, o)
	return err
}

// ParsePeers reads the endpoints of a peers file.
func ParsePeers(file string, text []byte) (map[string][]outbound.Endpoint, error) {
	agents, _, err := parsePeers(file, text)
	return agents, err
}

// Advertised is where peers are told to dial a sidecar.
func Advertised(o Options) string { return (&run{Proxy: &Proxy{opts: o}}).advertised() }

// Identify is whose key this is, nil for nobody's.
func Identify(f *keysFile, key string) *api.Caller { return f.identify(key) }

// Backoff is the pause after the n-th failed attempt.
func (l Limits) Backoff(attempts int) time.Duration { return l.backoff(attempts) }

// Directory is a running peers file.
type Directory struct{ f *peersFile }

// StartDirectory runs the directory until the test ends.
func StartDirectory(t testing.TB, path string, log io.Writer, self ...string) Directory {
	t.Helper()
	f, err := openPeers(path, mesh.Policies{}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	f.IAm(self...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return Directory{f}
}

func (d Directory) Endpoints(agent string) ([]outbound.Endpoint, bool) { return d.f.Endpoints(agent) }
func (d Directory) Policy(agent string) outbound.Policy                { return d.f.Policy(agent) }
func (d Directory) Changed() <-chan struct{}                           { return d.f.Changed() }
func (d Directory) Elsewhere(agent string) (bool, bool)                { return d.f.Elsewhere(agent) }

// Cleanups are the named steps of a stop.
type Cleanups struct{ c *cleanups }

func NewCleanups() Cleanups { return Cleanups{new(cleanups)} }

func (c Cleanups) Add(name string, within time.Duration, undo func(context.Context) error) {
	c.c.add(name, within, undo)
}
func (c Cleanups) Run(ctx context.Context, log *slog.Logger) error { return c.c.run(ctx, log) }

// Close is the end of a sidecar that ends for cause; nil: it was told to. alive ends where it
// fails.
func (c Cleanups) Close(alive context.Context, cause error) error {
	r := &run{Proxy: &Proxy{log: slog.New(slog.DiscardHandler)}, cleanups: *c.c}
	return r.close(alive, cause)
}

// StartLoop starts a loop whose failure is fail's.
func StartLoop(fail context.CancelCauseFunc, name string, loop func(context.Context) error) func(context.Context) error {
	return crew{fail}.start(name, loop)
}

// IdleTimeout is how long a connection may be idle between two requests.
func IdleTimeout() time.Duration {
	return newHTTPServer(nil, slog.New(slog.DiscardHandler)).IdleTimeout
}

// ConfigFile is a watched config file.
type ConfigFile struct{ f *configFile }

// OpenConfigFile is the config file of a sidecar with these options.
func OpenConfigFile(o Options) ConfigFile {
	peers, err := openPeers("", o.Policies, o.Log)
	if err != nil {
		panic(err)
	}
	return ConfigFile{newConfigFile(&o, peers)}
}

// Edit is what an edit of the file does: what waits for a restart, or what is wrong.
func (c ConfigFile) Edit(text string) (string, error) {
	_, err := c.f.take([]byte(text))
	return c.f.check().Detail, err
}

func (c ConfigFile) Limits() Limits                      { return *c.f.limits.Load() }
func (c ConfigFile) Policy(agent string) outbound.Policy { return c.f.peers.Policy(agent) }

// HoldMemory sets when the heap is collected.
var HoldMemory = holdMemory

// OnRoll is how many may log in.
func OnRoll(f *peopleFile) int { return f.roll.Load().Len() }

// ChecksOf are the checks of a sidecar that serves.
func ChecksOf(stats journal.Stats, failed error) []admin.Check {
	return checksOf(serving, stats, failed)
}

// Opening does what a journal is opened in.
func Opening(ctx, force context.Context, log *slog.Logger, open func() error) error {
	return (&run{Proxy: &Proxy{log: log}}).opening(ctx, force, open)
}
