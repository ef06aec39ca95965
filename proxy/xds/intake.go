package xds

import (
	"errors"
	"fmt"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
)

func (c *Client) strange(t *stream, r *discoveryv3.DeltaDiscoveryResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard(t, time.Now())
	if t.server.mu.strange++; t.server.mu.strange == 1 {
		c.log.Warn("the control plane sends a type nobody asked for: it is ignored", "peer", t.server.address, "reason", short(r.GetTypeUrl()))
	}
}

// heard notes that the server speaks: after its first response what is in memory
// is what it has, or the rest of it is on the way. Called with mu held.
func (c *Client) heard(t *stream, now time.Time) {
	s := t.server
	s.mu.heard = now
	if t.spoke {
		return
	}
	t.spoke = true
	s.mu.live, s.mu.failed, s.mu.state, s.mu.since = true, false, stateConnected, now
	for i, byName := range c.mu.resources {
		for name, r := range byName {
			r.unheard = false
			if _, asked := t.asked[i][name]; asked {
				r.asked = now // the time of a server that is still starting is no absence
			}
		}
	}
	c.alarm(now.Add(c.o.NotFoundAfter))
	poke(c.wake)
	if !c.mu.spoke {
		c.mu.spoke, c.mu.dirty = true, true
		poke(c.write)
	}
}

// apply takes over what is good of a response and returns, by name, why the rest
// is refused.
func (c *Client) apply(t *stream, i int, r *discoveryv3.DeltaDiscoveryResponse, now time.Time) (refused []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard(t, now)
	var news []*resource
	seen := map[string]bool{}
	for _, one := range r.GetResources() {
		mine := c.mu.resources[i][one.GetName()]
		if mine == nil {
			continue // let go of meanwhile, or never asked for
		}
		if one.GetResource() == nil && one.GetTtl() != nil && one.GetVersion() == mine.version {
			continue // a heartbeat: ours do not expire
		}
		m, err := kinds[i].parse(one)
		if err == nil && seen[mine.name] {
			err = errors.New("it is in the response twice")
		}
		seen[mine.name] = true
		if err != nil {
			refused = append(refused, fmt.Sprintf("%s: %s", mine.name, short(err.Error())))
			mine.refuse(err.Error(), one.GetVersion(), now)
			news = c.distrust(mine, news)
			c.mu.dirty = true
			continue
		}
		mine.take(m, one.GetVersion(), now)
		news = append(news, mine)
	}
	for _, name := range r.GetRemovedResources() {
		news = c.remove(i, name, now, news)
	}
	for _, e := range r.GetResourceErrors() {
		name, code := e.GetResourceName().GetName(), codes.Code(e.GetErrorDetail().GetCode())
		if code == codes.NotFound {
			news = c.remove(i, name, now, news)
		} else if mine := c.mu.resources[i][name]; mine != nil {
			mine.fail(e.GetErrorDetail().GetMessage(), now)
			if code == codes.PermissionDenied { // any other may be over in a moment
				news = c.distrust(mine, news)
			}
		}
	}
	if len(refused) > 0 {
		t.server.mu.nacks++
		c.log.Warn("a part of what the control plane sends is refused", "peer", t.server.address, "resource", kinds[i].word, "err", join(refused))
	}
	c.refresh(news, now)
	return refused
}

// distrust ends the use of what is in force, where that was asked for. Switches and
// authorities are not what is sent by: without them more would be done, not less.
// Called with mu held.
func (c *Client) distrust(r *resource, news []*resource) []*resource {
	if !c.o.FailOnDataErrors || r.value == nil || r.kind == runtime || r.kind == secret {
		return news
	}
	c.log.Warn("what the control plane has sent before is no longer used", "resource", kinds[r.kind].word, "name", r.name, "err", r.reason)
	r.drop()
	return append(news, r)
}

// remove notes a deletion, said or shown by silence. Called with mu held.
func (c *Client) remove(i int, name string, now time.Time, news []*resource) []*resource {
	mine := c.mu.resources[i][name]
	if mine == nil || !mine.remove(now) {
		return news
	}
	switch {
	case mine.gone.IsZero():
	case i == secret:
		c.log.Warn("the control plane names no authorities any more: those it named last stay trusted", "name", name)
	default:
		c.log.Warn("the control plane deleted what is in use: it is used on for a while", "resource", kinds[i].word, "name", name, "for", c.o.grace())
		c.alarm(now.Add(c.o.grace()))
	}
	return append(news, mine)
}
