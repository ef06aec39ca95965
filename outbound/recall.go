package outbound

// recall takes back what is claimed and not yet on the wire where the directory
// no longer lets it go so: to a destination that is paused, or an endpoint that gets
// nothing new, or after a delay that is injected no more. It stays due; what is on
// the wire is the holder's to answer.
func (d *Dispatcher) recall() {
	type place struct {
		eps    []Endpoint
		paused bool
		fault  Fault
	}
	d.mu.Lock()
	asked := map[*dest]place{}
	for _, f := range d.mu.flights {
		if f.stage == claimed && f.session != nil {
			asked[f.dest] = place{}
		}
	}
	d.mu.Unlock()
	for dst := range asked {
		eps, _ := d.dir.Endpoints(dst.name)
		policy := d.dir.Policy(dst.name)
		asked[dst] = place{eps, policy.Paused, policy.Fault}
	}
	var back []*flight
	d.mu.Lock()
	for _, f := range d.mu.flights {
		if f.stage != claimed || f.session == nil {
			continue
		}
		if p, ok := asked[f.dest]; ok && (p.paused || !f.until.IsZero() && f.fault != p.fault || !d.serves(f.session, p.eps)) {
			back = append(back, f)
		}
	}
	for _, f := range back {
		d.drop(f)
	}
	d.mu.Unlock()
	d.rewind(back, false)
}

// serves reports whether a healthy one of the endpoints is the session's. Called
// with mu held.
func (d *Dispatcher) serves(s *session, eps []Endpoint) bool {
	for _, ep := range eps {
		if l := d.mu.links[ep.Address]; ep.Health == Healthy && l != nil && d.sessionOf(l) == s {
			return true
		}
	}
	return false
}
