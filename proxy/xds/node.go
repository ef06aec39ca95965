package xds

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"pannier/proxy/mesh"
)

// nodeProto is who this sidecar says it is.
func (c *Client) nodeProto() *corev3.Node {
	c.mu.Lock()
	n := c.mu.node
	c.mu.Unlock()
	return Node(n, c.o.Zone, c.o.Version)
}

// Node is a sidecar as a control plane sees it. Its id has the four parts that
// Istio's servers ask for.
func Node(n mesh.Node, zone, version string) *corev3.Node {
	host := n.Peer
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = strings.Trim(host[:i], "[]")
	}
	cluster := "pannier"
	if len(n.Agents) > 0 {
		cluster = mesh.Key(n.Agents[0])
	}
	return &corev3.Node{
		Id:                   "sidecar~" + host + "~" + n.Journal + ".pannier~pannier",
		Cluster:              cluster,
		Locality:             &corev3.Locality{Zone: zone},
		Metadata:             n.Metadata(),
		UserAgentName:        "pannier",
		UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: version},
	}
}
