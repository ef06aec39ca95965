package xds

import (
	"slices"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// names makes the request that brings a stream's subscription to one type up to
// date; nil: it is. A first request without a name would ask for everything.
func (c *Client) names(t *stream, i int, now time.Time) *discoveryv3.DeltaDiscoveryRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: kinds[i].url}
	first := t.asked[i] == nil
	for name, one := range c.mu.resources[i] {
		if _, asked := t.asked[i][name]; asked {
			continue
		}
		r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, name)
		one.asked = now
		if end := one.overdue(c.o.NotFoundAfter); !end.IsZero() {
			c.alarm(end)
		}
		// Not of runtime layers: a server that has nothing new must answer something.
		if first && i != runtime && one.value != nil && one.gone.IsZero() {
			if r.InitialResourceVersions == nil {
				r.InitialResourceVersions = map[string]string{}
			}
			r.InitialResourceVersions[name] = one.version
		}
	}
	for name := range t.asked[i] {
		if c.mu.resources[i][name] == nil {
			r.ResourceNamesUnsubscribe = append(r.ResourceNamesUnsubscribe, name)
		}
	}
	if len(r.ResourceNamesSubscribe) == 0 && len(r.ResourceNamesUnsubscribe) == 0 {
		return nil
	}
	if first {
		t.asked[i] = map[string]struct{}{}
	}
	for _, name := range r.ResourceNamesSubscribe {
		t.asked[i][name] = struct{}{}
	}
	for _, name := range r.ResourceNamesUnsubscribe {
		delete(t.asked[i], name)
	}
	if first && i == runtime {
		r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, wildcard)
	}
	slices.Sort(r.ResourceNamesSubscribe)
	return r
}

// unask forgets what a stream that ended had asked for: what did not come may
// have been on its way.
func (c *Client) unask(t *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.server.mu.live = false
	if t.spoke {
		t.server.mu.lostAt = time.Now()
	}
	for i := range t.asked {
		for name := range t.asked[i] {
			if r := c.mu.resources[i][name]; r != nil {
				r.asked = time.Time{}
			}
		}
	}
}
