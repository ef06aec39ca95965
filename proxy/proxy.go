package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"

	"pannier/journal"
	"pannier/proxy/identity"
	"pannier/proxy/identity/identityfile"
	"pannier/proxy/mesh"
	"pannier/proxy/metrics/sidecar"
	"pannier/proxy/trace"
	"pannier/proxy/xds"
)

// Info is the ready line.
type Info struct {
	Ready   bool   `json:"ready"`
	Node    string `json:"node"` // journal id
	API     string `json:"api"`
	Peer    string `json:"peer"`
	Admin   string `json:"admin"`
	Health  string `json:"health,omitempty"`
	People  string `json:"people,omitempty"`
	Durable bool   `json:"durable"` // false: the journal's volume does not outlive the host
	Version string `json:"version,omitempty"`
}

// Proxy is one sidecar, not yet running.
type Proxy struct {
	opts    Options
	config  *configFile
	peers   *peersFile
	keys    *keysFile
	people  *peopleFile
	trust   *identity.Trust
	keyring *identityfile.Keyring
	log     *slog.Logger

	emptying bool // see Empty
}

// New checks the options and reads the files they name: its errors are all the
// operator's to mend. It opens nothing and starts nothing.
func New(o Options) (*Proxy, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	peers, err := openPeers(o.Peers, o.Policies, o.Log)
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(o.APIKeys, o.Log)
	if err != nil {
		return nil, err
	}
	people, err := openPeople(&o.People, o.Log)
	if err != nil {
		return nil, err
	}
	trust, keyring, err := identityfile.Open(o.Identity, o.Log)
	if err != nil {
		return nil, err
	}
	p := &Proxy{opts: o, peers: peers, keys: keys, people: people, trust: trust, keyring: keyring, log: o.Log}
	p.config = newConfigFile(&p.opts, peers)
	return p, nil
}

// Run runs the sidecar once. It calls ready when the sidecar takes intents,
// waits until ctx ends, then stops in order (doc.go); the end of force cuts
// the waiting for apps short. Where ctx ends before the journal is open, Run waits a few
// seconds for that, and returns an error. It returns nil after a clean stop. After an
// error the caller must end the process: what did not stop in time still runs.
func (p *Proxy) Run(ctx, force context.Context, ready func(Info)) error {
	alive, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	r := &run{Proxy: p, crew: crew{fail}}
	err := r.start(ctx, force, alive)
	if err == nil {
		r.phase.Store(serving)
		ready(r.info())
		err = r.serve(ctx, force, alive)
	}
	r.phase.Store(closing)
	return errors.Join(err, r.close(alive, err))
}

// phase is where a run stands. It only goes forward.
type phase = int32

const (
	starting phase = iota
	serving
	draining
	closing
)

// run is a sidecar while it runs.
type run struct {
	*Proxy
	phase    atomic.Int32
	crew     crew
	cleanups cleanups

	journal *journal.Journal
	dir     directory
	xds     *xds.Client // nil without control planes
	metrics *sidecar.Sidecar
	parts   atomic.Pointer[parts]        // nil until they are wired
	tracer  atomic.Pointer[trace.Tracer] // nil where nothing is traced

	apiListener, peerListener, adminListener net.Listener
	healthListener, peopleListener           net.Listener // nil where none is asked for
	listeners                                listeners    // all of them
}

func (r *run) info() Info {
	i := Info{
		Ready:   true,
		Node:    r.journal.Identity().Journal.String(),
		API:     addressOf(r.apiListener),
		Peer:    addressOf(r.peerListener),
		Admin:   addressOf(r.adminListener),
		Durable: r.journal.Stats().Durable,
		Version: r.opts.Version,
	}
	if r.healthListener != nil {
		i.Health = addressOf(r.healthListener)
	}
	if r.peopleListener != nil {
		i.People = addressOf(r.peopleListener)
	}
	return i
}

// advertised is where peers dial us, in the one spelling that directories use: a pod
// writes its address in brackets, not knowing of which version it is.
func (r *run) advertised() string {
	if r.opts.Advertise != "" {
		return mesh.Address(r.opts.Advertise)
	}
	return r.peerListener.Addr().String()
}

func (r *run) agents() []string {
	agents := make([]string, 0, len(r.opts.Agents))
	for _, a := range r.opts.Agents {
		agents = append(agents, a.Address)
	}
	return agents
}

// hosts are names the operator gave our listeners, for the Host check.
func (r *run) hosts() []string {
	var hosts []string
	for _, address := range []string{r.opts.API, r.opts.Admin, r.opts.Health, r.opts.People.People, r.opts.Advertise} {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			hosts = append(hosts, strings.ToLower(host))
		}
	}
	return hosts
}
