package kubernetes

import (
	"net"
	"slices"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"pannier/outbound"
	"pannier/proxy/mesh"
)

// replica is one endpoint of a Service.
type replica struct {
	outbound.Endpoint
	pod string // NAMESPACE/NAME of the pod; empty: it is none
}

// replicas reads the slices of a Service. A pod of two IP families is in slices of
// both, and is one sidecar: the Service's first family counts. An endpoint may be in
// two slices while the controller moves it; see newer.
func replicas(s *core.Service, of []*discovery.EndpointSlice) []replica {
	byAddress := map[string]replica{}
	for _, slice := range of {
		if len(s.Spec.IPFamilies) > 0 && string(slice.AddressType) != string(s.Spec.IPFamilies[0]) {
			continue
		}
		port := portOf(slice)
		if port == "" || slice.AddressType == discovery.AddressTypeFQDN {
			continue
		}
		for _, e := range slice.Endpoints {
			if len(e.Addresses) == 0 {
				continue
			}
			// All addresses of an endpoint are the same pod.
			r := replica{Endpoint: outbound.Endpoint{Address: mesh.Address(net.JoinHostPort(e.Addresses[0], port)), Health: healthOf(e.Conditions)}}
			if e.Zone != nil {
				r.Zone = *e.Zone
			}
			if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
				r.pod = podName(e.TargetRef.Namespace, e.TargetRef.Name)
			}
			if known, twice := byAddress[r.Address]; twice {
				r = newer(known, r)
			}
			byAddress[r.Address] = r
		}
	}
	all := make([]replica, 0, len(byAddress)) // never nil: a Service without endpoints says that its agent is nowhere
	for _, r := range byAddress {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b replica) int { return strings.Compare(a.Address, b.Address) })
	if len(all) > maxReplicas {
		all = all[:maxReplicas]
	}
	return all
}

// newer is which of two words on one address was said later. A pod that terminates
// never ceases to; one that does not is another pod's successor at its address.
func newer(a, b replica) replica {
	draining := a.Health == outbound.Draining
	switch {
	case draining == (b.Health == outbound.Draining):
		if b.Health == outbound.Healthy {
			return b
		}
		return a
	case draining == (a.pod == b.pod):
		return a
	}
	return b
}

// podName is empty where nothing is known.
func podName(namespace, name string) string {
	if name == "" {
		return ""
	}
	return namespace + "/" + name
}

// portOf is the port of the sidecars, empty where the slice has none.
func portOf(slice *discovery.EndpointSlice) string {
	for _, p := range slice.Ports {
		var name string
		var protocol core.Protocol
		if p.Name != nil {
			name = *p.Name
		}
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		if p.Port != nil && peerPort(name, p.AppProtocol, protocol) {
			return strconv.Itoa(int(*p.Port))
		}
	}
	return ""
}

// healthOf reads discovery.k8s.io/v1 EndpointConditions: what is not said of ready
// is to be taken for true, of serving for ready, of terminating for false.
func healthOf(c discovery.EndpointConditions) outbound.Health {
	ready := c.Ready == nil || *c.Ready
	switch {
	case c.Terminating != nil && *c.Terminating:
		return outbound.Draining
	case ready && (c.Serving == nil || *c.Serving):
		return outbound.Healthy
	}
	return outbound.Unhealthy
}
