package proxy

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"

	"pannier/outbound"
	"pannier/proxy/admin"
	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

// directory says where agents live: the peers file, or control planes.
type directory interface {
	outbound.Directory
	// IAm says which addresses are this sidecar's own.
	IAm(addresses ...string)
	// Elsewhere reports whether an agent lives at other sidecars and not here, and
	// whether that is known yet.
	Elsewhere(agent string) (elsewhere, known bool)
	// Run keeps it up to date until ctx ends.
	Run(ctx context.Context) error
}

var _ directory = (*xds.Client)(nil)

// lastKnownGood is the file of what control planes said, in the journal's
// directory: both are of one volume and one life.
const lastKnownGood = "xds"

// openDirectory makes the directory of this run. The journal is open: its
// directory is ours alone, and the last known good is read before anybody is
// listened to.
func (r *run) openDirectory() {
	r.dir = r.peers
	if len(r.opts.XDS) == 0 {
		return
	}
	o := r.opts.Limits.XDS
	o.Servers, o.Zone, o.Version = r.opts.XDS, r.opts.Zone, r.opts.Version
	o.Dial = r.dialOptions()
	if r.identified() {
		channel := r.trust.DialHost()
		if r.opts.XDSName != "" {
			channel = r.trust.DialNamed(r.opts.XDSName)
		}
		o.Dial = append(o.Dial, grpc.WithTransportCredentials(channel)) // the last one counts
	}
	if r.opts.XDSTrust {
		o.Trust = func(bundle []byte) error { return r.trust.SetBundle(mesh.TrustBundle, bundle) }
	}
	o.Token = r.opts.XDSToken
	o.File = filepath.Join(r.opts.Journal, lastKnownGood)
	r.xds = xds.New(o, r.node(nil), r.log)
	r.dir = r.xds
}

// node is what this sidecar tells control planes of itself.
func (r *run) node(learned []string) mesh.Node {
	n := mesh.Node{
		Agents: r.agents(), Peer: r.advertised(), Journal: r.journal.Identity().Journal.String(),
		Draining: r.phase.Load() >= draining,
	}
	for _, a := range learned {
		if !slices.Contains(n.Agents, a) {
			n.Agents = append(n.Agents, a)
		}
	}
	slices.Sort(n.Agents)
	return n
}

// maxAnnounced bounds how many agents a sidecar says it serves.
const maxAnnounced = 1000

// announce tells control planes what has changed about this sidecar.
func (r *run) announce() {
	if r.xds == nil {
		return
	}
	var learned []string
	if p := r.parts.Load(); p != nil && r.opts.Learn == learnAdvertise {
		learned = p.mailbox.Served(maxAnnounced)
	}
	r.xds.Announce(r.node(learned))
}

// discover tells the mailbox of a changed directory: pulls may wait for one, and people
// elsewhere may be asked what has waited here. The dispatcher watches it by itself.
func (r *run) discover(ctx context.Context) error {
	for {
		changed := r.dir.Changed()
		r.parts.Load().mailbox.Discovered()
		if err := r.journal.AskElsewhere(ctx); err != nil {
			r.log.Warn("tasks of people elsewhere wait here alone", "err", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// discovery is what health says of it: never a reason not to be ready.
func (r *run) discovery() (check admin.Check, asked bool) {
	if r.xds == nil {
		return admin.Check{}, false
	}
	check = admin.Check{Name: "discovery", OK: true, Advice: true}
	if since, live := r.xds.Confirmed(); !live {
		check.OK, check.Detail = false, "no control plane answers, and none has since this journal began: unknown agents wait"
		if !since.IsZero() {
			check.Detail = fmt.Sprintf("no control plane answers: what was known %s ago is in force", time.Since(since).Round(time.Second))
		}
	}
	return check, true
}
