package proxy

import (
	"context"
	"time"

	"pannier/proxy/admin"
	"pannier/proxy/metrics/sidecar"
	"pannier/proxy/trace/otlp"
	"pannier/proxy/webhook"
)

// watch lets the page of metrics ask the parts for their figures.
func (r *run) watch(keys *webhook.Keyring) {
	p := r.parts.Load()
	from := sidecar.Source{
		Journal: r.journal, Ready: func() bool { return r.health().Ready() },
		Mailbox: p.mailbox.Figures, Homes: p.server.Figures, Peers: p.dispatcher.Figures, App: p.api.Figures, Secrets: keys.Made,
		Delays: p.dispatcher.Delays, Rooms: r.listeners.uses,
	}
	who := &from.Service
	who.Name, who.Version, who.Instance = otlp.Service(context.Background(), r.opts.Version, r.journal.Identity().Journal.String())
	if r.opts.Config != "" {
		from.Config = r.config.figures
	}
	if r.xds != nil {
		from.XDS = r.xds.Figures
	}
	r.metrics.Watch(from)
}

// figures is what operators are told of this sidecar. It reads memory only.
func (r *run) figures() admin.Figures {
	i, syncs := r.info(), r.metrics.Syncs()
	return admin.Figures{
		Listeners: admin.Listeners{API: i.API, Peer: i.Peer, Admin: i.Admin},
		Bytes:     r.journal.Size(), Backlogs: r.journal.Backlogs(), Limits: r.journal.Uses(),
		Syncs: admin.Syncs{Of: syncs.Of, P50: milliseconds(syncs.P50), P99: milliseconds(syncs.P99)},
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
