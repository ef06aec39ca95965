package controlplane

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pannier/proxy/mesh"
)

const (
	maxStreams = 20_000
	// maxStreamTypes keeps the one queue of a delta stream, which has twice as many
	// places, from filling up while its loop waits for the caches.
	maxStreamTypes = 10
	// maxNacks bounds the nodes whose last refusal is kept; the oldest go first.
	maxNacks = 1_000
	// maxText bounds a client's words, and ours of them.
	maxText = 1 << 10
)

// streamKey is a stream of this process: the two protocols count apart.
type streamKey struct {
	delta bool
	id    int64
}

// NodeStatus is what is known of one open stream.
type NodeStatus struct {
	Node      string              `json:"node"`
	Cluster   string              `json:"cluster,omitempty"`
	UserAgent string              `json:"user_agent,omitempty"`
	Peer      string              `json:"peer"`
	Identity  string              `json:"identity,omitempty"` // who it is proven to be
	Protocol  string              `json:"protocol"`           // delta or sotw
	Since     time.Time           `json:"since"`
	Refused   string              `json:"refused,omitempty"` // why it is not announced as it asks to be
	Slowed    bool                `json:"slowed,omitempty"`  // it sent more requests than are read at once
	Types     map[string]Exchange `json:"types"`             // by type URL
}

// Exchange is what a stream and we have said to one another about one type.
type Exchange struct {
	Sent      int       `json:"sent"`    // responses
	Acked     int       `json:"acked"`   // of them
	Nacked    int       `json:"nacked"`  // of them
	Resources int       `json:"last"`    // in the last response
	At        time.Time `json:"last_at"` // of it
	Version   string    `json:"version,omitempty"`
}

// Nack is the last refusal of a node.
type Nack struct {
	Node  string    `json:"node"`
	Type  string    `json:"type"`
	Error string    `json:"error"`
	At    time.Time `json:"at"`
	Count int       `json:"count"`             // refusals of this node since it is on record
	Since time.Time `json:"acked_at,omitzero"` // when it took the type again
}

// streams follows what clients say. Its methods are go-control-plane's callbacks.
type streams struct {
	registration *Registration // nil: the source is not wanted
	limits       *limits
	log          *slog.Logger

	mu struct {
		sync.Mutex
		open  map[streamKey]*stream
		nacks map[string]*Nack // by node id
		total map[string]int   // refusals by type, of the types served
	}
}

type stream struct {
	NodeStatus
	who   announcer
	node  *core.Node        // as last looked at; it has been stripped
	lacks func() error      // why it still is not announced as it asks to be; nil: it is, or no day changes that
	tell  func(text string) // puts it in the header of the stream, if that has not left
	told  bool
	pace  pace

	said      [sha256.Size]byte // digest of the node
	announced bool              // by this stream, since it said that
}

func newStreams(r *Registration, l *limits, log *slog.Logger) *streams {
	s := &streams{registration: r, limits: l, log: log}
	s.mu.open, s.mu.nacks, s.mu.total = map[streamKey]*stream{}, map[string]*Nack{}, map[string]int{}
	return s
}

func (s *streams) callbacks() serverv3.CallbackFuncs {
	sotw := func(id int64) streamKey { return streamKey{id: id} }
	delta := func(id int64) streamKey { return streamKey{delta: true, id: id} }
	return serverv3.CallbackFuncs{
		StreamOpenFunc:        func(ctx context.Context, id int64, _ string) error { return s.opened(ctx, sotw(id)) },
		DeltaStreamOpenFunc:   func(ctx context.Context, id int64, _ string) error { return s.opened(ctx, delta(id)) },
		StreamClosedFunc:      func(id int64, _ *core.Node) { s.closed(sotw(id)) },
		DeltaStreamClosedFunc: func(id int64, _ *core.Node) { s.closed(delta(id)) },
		StreamRequestFunc: func(id int64, r *discovery.DiscoveryRequest) error {
			return s.asked(sotw(id), proto.Size(r), r.GetNode(), r.GetTypeUrl(), r.GetResponseNonce(), r.GetErrorDetail())
		},
		StreamDeltaRequestFunc: func(id int64, r *discovery.DeltaDiscoveryRequest) error {
			return s.asked(delta(id), proto.Size(r), r.GetNode(), r.GetTypeUrl(), r.GetResponseNonce(), r.GetErrorDetail())
		},
		StreamResponseFunc: func(_ context.Context, id int64, _ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			s.answered(sotw(id), r.GetTypeUrl(), r.GetVersionInfo(), len(r.GetResources()))
		},
		StreamDeltaResponseFunc: func(id int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
			s.answered(delta(id), r.GetTypeUrl(), r.GetSystemVersionInfo(), len(r.GetResources())+len(r.GetRemovedResources()))
		},
	}
}

func (s *streams) opened(ctx context.Context, key streamKey) error {
	st := &stream{NodeStatus: NodeStatus{Protocol: "sotw", Since: time.Now(), Types: map[string]Exchange{}}}
	if key.delta {
		st.Protocol = "delta"
	}
	if p, ok := peer.FromContext(ctx); ok {
		st.Peer = p.Addr.String()
	}
	if s.registration != nil {
		st.who = s.registration.identify(ctx)
		st.Identity = st.who.name
	}
	st.tell = func(text string) {
		_ = grpc.SetHeader(ctx, metadata.Pairs(mesh.HeaderRefused, text)) // too late: its next stream hears it
	}
	st.pace = newPace(ctx, s.limits, func() { s.slowed(st) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.open[key] = st // closed is called even after an error
	if len(s.mu.open) > maxStreams {
		s.limits.hit(limitStreams)
		return status.Errorf(codes.ResourceExhausted, "%d streams are open, no more are taken", maxStreams)
	}
	return nil
}

func (s *streams) closed(key streamKey) {
	s.mu.Lock()
	st := s.mu.open[key]
	delete(s.mu.open, key)
	s.mu.Unlock()
	if s.registration != nil {
		s.registration.closed(key, sidecarKey{st.who.name, st.Node})
	}
}

// asked takes a request: the first on a stream, an answer to a response, or a
// change of what is wanted. The node may come with any of them.
func (s *streams) asked(key streamKey, size int, node *core.Node, typeURL, nonce string, refusal *rpc.Status) error {
	s.mu.Lock()
	st := s.mu.open[key]
	s.mu.Unlock()
	if err := st.pace(1 + size/bytesOfRequest); err != nil {
		return err
	}
	if node != nil && node != st.node {
		if err := s.heard(key, st, node); err != nil {
			return err
		}
	}
	if len(typeURL) > maxText {
		return status.Errorf(codes.InvalidArgument, "a type URL of %d bytes, at most %d", len(typeURL), maxText)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, known := st.Types[typeURL]
	if !known && len(st.Types) >= maxStreamTypes {
		s.limits.hit(limitTypes)
		return status.Errorf(codes.ResourceExhausted, "more than %d types on one stream", maxStreamTypes)
	}
	switch {
	case refusal != nil:
		x.Nacked++
		s.nacked(st.Node, typeURL, refusal.GetMessage())
	case nonce != "" && x.Acked+x.Nacked < x.Sent: // else only its wishes have changed
		x.Acked++
		if n := s.mu.nacks[st.Node]; n != nil && n.Type == typeURL && n.Since.IsZero() {
			n.Since = time.Now()
		}
	}
	st.Types[typeURL] = x
	return nil
}

// slowed notes that a client has to wait.
func (s *streams) slowed(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !st.Slowed {
		s.log.Warn("client sends requests faster than they are read", "node", st.Node, "peer", st.Peer, "identity", st.Identity, "limit", s.limits.perSecond)
	}
	st.Slowed = true
}

// heard takes the node of a stream. What is wrong with it is no reason to end the
// stream: it may still learn of others.
func (s *streams) heard(key streamKey, st *stream, node *core.Node) (err error) {
	id := short(node.GetId())
	if s.registration != nil && st.Node != id {
		s.registration.closed(key, sidecarKey{st.who.name, st.Node}) // one stream is one sidecar
	}
	s.mu.Lock()
	st.node = node
	st.Node, st.Cluster, st.UserAgent = id, short(node.GetCluster()), short(node.GetUserAgentName())
	s.mu.Unlock()
	if s.registration != nil {
		err = s.announce(key, st, node)
	}
	// go-control-plane keeps the node as long as the stream, and passes it on with
	// each request: of all it says only these two are ever looked at again.
	proto.Reset(node)
	node.Id, node.UserAgentName = st.Node, st.UserAgent
	return err
}

// announce registers the node of a stream, if it is not too long to be read and says
// something new. One that is sent again with each request costs its digest.
func (s *streams) announce(key streamKey, st *stream, node *core.Node) error {
	who := sidecarKey{st.who.name, st.Node}
	if n := proto.Size(node); n > s.limits.nodeBytes {
		s.limits.hit(limitNode)
		s.registration.forget(who)
		st.said, st.announced = [sha256.Size]byte{}, false
		s.refuse(st, fmt.Errorf("node: %d bytes, at most %d are read; announce fewer agents, or some of them by another sidecar", n, s.limits.nodeBytes))
		return nil
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(node)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "node: %v", err)
	}
	said := sha256.Sum256(text)
	if said == st.said && (!st.announced || s.registration.has(who, key)) {
		return nil
	}
	if err := st.pace(requestsOfNode); err != nil {
		return err
	}
	st.said = said
	s.refuse(st, s.registration.seen(key, st.who, node))
	st.announced = s.registration.has(who, key)
	return nil
}

// refuse tells a client why it is not announced as it asks to be; nil: it is.
func (s *streams) refuse(st *stream, err error) {
	refused, lacks := "", &unannounced{}
	if err != nil {
		errors.As(err, &lacks)
		refused = short(err.Error())
		if !st.told { // gRPC would keep them all until a response leaves
			st.tell(refused)
			st.told = true
		}
	}
	if refused != "" && refused != st.Refused {
		s.log.Warn("sidecar not announced as it asks to be", "node", st.Node, "peer", st.Peer, "identity", st.Identity, "err", refused)
	}
	s.mu.Lock()
	st.Refused, st.lacks = refused, lacks.still
	s.mu.Unlock()
}

// nacked keeps a refusal; s.mu is held.
func (s *streams) nacked(node, typeURL, text string) {
	text = short(text)
	s.log.Error("client refuses a resource", "node", node, "type", typeURL, "err", text)
	kind := typeURL
	if _, served := typeNames[typeURL]; !served {
		kind = "other"
	}
	s.mu.total[kind]++
	n := s.mu.nacks[node]
	if n == nil {
		if len(s.mu.nacks) >= maxNacks {
			s.forgetNack()
		}
		n = &Nack{Node: node}
		s.mu.nacks[node] = n
	}
	*n = Nack{Node: node, Type: typeURL, Error: text, At: time.Now(), Count: n.Count + 1}
}

// short cuts text of unknown length.
func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

func (s *streams) forgetNack() {
	oldest := ""
	for id, n := range s.mu.nacks {
		if oldest == "" || n.At.Before(s.mu.nacks[oldest].At) {
			oldest = id
		}
	}
	delete(s.mu.nacks, oldest)
}

func (s *streams) answered(key streamKey, typeURL, version string, resources int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.mu.open[key]
	x := st.Types[typeURL]
	x.Sent, x.Resources, x.At, x.Version = x.Sent+1, resources, time.Now(), version
	st.Types[typeURL] = x
}

// typeNames are the types that are served, as operators call them.
var typeNames = map[string]string{
	mesh.TypeListener: "listeners", mesh.TypeRoute: "routes", mesh.TypeCluster: "clusters",
	mesh.TypeEndpoints: "endpoints", mesh.TypeRuntime: "runtime", mesh.TypeSecret: "secrets",
}

// snapshot is for operators.
func (s *streams) snapshot() (nodes []NodeStatus, nacks []Nack, total map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.mu.open {
		n := st.NodeStatus
		n.Types = make(map[string]Exchange, len(st.Types))
		for typeURL, x := range st.Types {
			n.Types[typeURL] = x
		}
		nodes = append(nodes, n)
	}
	for _, n := range s.mu.nacks {
		nacks = append(nacks, *n)
	}
	total = map[string]int{}
	for kind, n := range s.mu.total {
		total[kind] = n
	}
	slices.SortFunc(nodes, func(a, b NodeStatus) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), a.Since.Compare(b.Since))
	})
	slices.SortFunc(nacks, func(a, b Nack) int { return cmp.Compare(a.Node, b.Node) })
	return nodes, nacks, total
}
