package xds

import (
	"maps"
	"reflect"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"pannier/outbound"
	"pannier/proxy/mesh"
)

// agent is a destination that is subscribed to. Guarded by the client's mu.
type agent struct {
	address string
	key     string

	asked  time.Time // when the directory was last asked for it
	probed time.Time // nobody had for long, and whoever still needs it was woken to ask; zero: not so
	uses   map[ref]*resource

	known     bool                // its place is known, be it none
	endpoints []outbound.Endpoint // without this sidecar
	here      bool                // this sidecar is one of its places
	policy    outbound.Policy

	// What is in force. Its endpoints always are the newest.
	route    *routev3.RouteConfiguration
	clusters map[string]*clusterv3.Cluster
	// cold is since when what comes next has not been whole; zero: it is in force.
	cold time.Time
}

// ref names a resource.
type ref struct {
	kind int
	name string
}

// plan is what an agent would be with the newest of all resources.
type plan struct {
	route    *routev3.RouteConfiguration
	clusters map[string]*clusterv3.Cluster
	refs     []ref
	whole    bool // nothing of it is still to come
}

// plan follows the names from the route to the endpoints. Until the route is
// there, what it will most probably name is asked for already.
func (c *Client) plan(a *agent) plan {
	p := plan{clusters: map[string]*clusterv3.Cluster{}, refs: []ref{{route, a.key}}}
	r := c.mu.resources[route][a.key]
	p.whole = r.settled()
	p.route, _ = valueOf[*routev3.RouteConfiguration](r)
	for _, name := range mesh.ClustersOf(a.address, p.route) {
		p.refs = append(p.refs, ref{cluster, name})
		r := c.mu.resources[cluster][name]
		p.whole = p.whole && r.settled()
		value, there := valueOf[*clusterv3.Cluster](r)
		load := name
		if there {
			p.clusters[name] = value
			load = mesh.EndpointsOf(value)
		} else if r.settled() {
			continue
		}
		if load != "" {
			p.refs = append(p.refs, ref{endpoints, load})
			p.whole = p.whole && c.mu.resources[endpoints][load].settled()
		}
	}
	return p
}

func valueOf[M proto.Message](r *resource) (m M, there bool) {
	if r == nil || r.value == nil {
		return m, false
	}
	return r.value.(M), true
}

// assemble puts in force what can be, and subscribes to what it names. It reports
// whether the directory's answer has changed. Called with mu held.
func (c *Client) assemble(a *agent, now time.Time) (changed bool) {
	var p plan
	for { // a new name may have been subscribed to for another agent, and be there
		p = c.plan(a)
		refs := p.refs
		if a.known && !p.whole {
			refs = append(refs, a.inForce()...)
		}
		if !c.use(a, refs) {
			break
		}
	}
	switch {
	case p.whole:
		a.cold = time.Time{}
	case !a.known:
		return false
	case a.cold.IsZero():
		a.cold = now
		c.alarm(now.Add(warmWithin))
	}
	if p.whole || !now.Before(a.cold.Add(warmWithin)) {
		a.route, a.clusters = p.route, p.clusters
		c.use(a, p.refs)
	}
	loads := map[string]*endpointv3.ClusterLoadAssignment{}
	for _, one := range a.clusters {
		name := mesh.EndpointsOf(one)
		if l, there := valueOf[*endpointv3.ClusterLoadAssignment](c.mu.resources[endpoints][name]); there {
			loads[name] = l
		}
	}
	s := mesh.Read(a.address, mesh.Resources{Route: a.route, Clusters: a.clusters, Endpoints: loads})
	was := *a
	a.known, a.policy = true, s.Policy
	a.here, a.endpoints = false, nil
	for _, e := range s.Endpoints {
		if slices.Contains(c.mu.self, e.Address) {
			a.here = true
		} else {
			a.endpoints = append(a.endpoints, e)
		}
	}
	return !was.known || was.here != a.here || !slices.Equal(was.endpoints, a.endpoints) || !reflect.DeepEqual(was.policy, a.policy)
}

// inForce are the names of what is in force.
func (a *agent) inForce() (refs []ref) {
	for name, one := range a.clusters {
		refs = append(refs, ref{cluster, name})
		if load := mesh.EndpointsOf(one); load != "" {
			refs = append(refs, ref{endpoints, load})
		}
	}
	return refs
}

// use makes the agent use exactly these resources. It reports whether it began to
// use one that was there already. Called with mu held.
func (c *Client) use(a *agent, refs []ref) (there bool) {
	for _, f := range refs {
		if a.uses[f] != nil {
			continue
		}
		r := c.mu.resources[f.kind][f.name]
		if r == nil {
			r = &resource{kind: f.kind, name: f.name, users: map[*agent]struct{}{}}
			c.mu.resources[f.kind][f.name] = r
			c.resubscribe()
		}
		r.users[a] = struct{}{}
		a.uses[f] = r
		there = there || r.settled()
	}
	for f, r := range a.uses {
		if slices.Contains(refs, f) {
			continue
		}
		delete(a.uses, f)
		delete(r.users, a)
		if len(r.users) == 0 && f.kind != runtime {
			delete(c.mu.resources[f.kind], f.name)
			c.resubscribe()
		}
	}
	return there
}

// forget ends the subscription to an agent. Called with mu held.
func (c *Client) forget(a *agent) {
	c.use(a, nil)
	delete(c.mu.agents, a.address)
	c.mu.dirty = true
}

// usersOf gathers the agents that use any of the resources.
func usersOf(rs []*resource) []*agent {
	all := map[*agent]struct{}{}
	for _, r := range rs {
		maps.Copy(all, r.users)
	}
	return slices.Collect(maps.Keys(all))
}
