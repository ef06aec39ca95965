package proxy

import "pannier/proxy/metrics/sidecar"

// watch lets the page of metrics ask the parts for their figures.
func (r *run) watch() {
	p := r.parts.Load()
	from := sidecar.Source{
		Journal: r.journal, Ready: func() bool { return r.health().Ready() },
		Mailbox: p.mailbox.Figures, Homes: p.server.Figures, Peers: p.dispatcher.Figures, App: p.api.Figures,
	}
	if r.xds != nil {
		from.XDS = r.xds.Figures
	}
	r.metrics.Watch(from)
}
