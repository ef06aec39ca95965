package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"pannier/proxy/mesh"
)

// stream is one ADS stream of delta. Its loop alone sends.
type stream struct {
	server *server
	wire   grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	asked  [len(kinds)]map[string]struct{} // names subscribed to; nil: the type was not asked for yet
	greets bool                            // the node was sent
	spoke  bool                            // a response came
}

// stream runs one stream until it breaks, or ctx ends, or the node changes.
func (s *server) stream(ctx context.Context, conn *grpc.ClientConn) (spoke bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Also a send that the server never takes ends with this.
	silence := time.AfterFunc(silentAfter, func() { cancel(errSilent) })
	defer silence.Stop()

	select {
	case <-s.reopen: // the node is read below
	default:
	}
	wire, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return false, because(ctx, err)
	}
	t := &stream{server: s, wire: wire}
	defer s.client.unask(t)
	responses, ended := t.receive(ctx)
	defer func() { // joins the reader
		cancel(nil)
		<-ended
	}()
	if err := t.subscribe(); err != nil {
		return false, because(ctx, err)
	}
	var gather <-chan time.Time
	for {
		select {
		case r, open := <-responses:
			if !open {
				return t.spoke, because(ctx, <-ended)
			}
			silence.Stop()
			if err := t.answer(r); err != nil {
				return t.spoke, because(ctx, err)
			}
		case <-s.names:
			if gather == nil {
				gather = time.After(coalesceFor)
			}
		case <-gather:
			gather = nil
			if err := t.subscribe(); err != nil {
				return t.spoke, because(ctx, err)
			}
		case <-s.reopen:
			return t.spoke, errReopen
		}
	}
}

// because prefers why we ended a stream over what gRPC makes of it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// receive reads until the stream ends. Then responses is closed and ended has
// the reason.
func (t *stream) receive(ctx context.Context) (<-chan *discoveryv3.DeltaDiscoveryResponse, <-chan error) {
	responses, ended := make(chan *discoveryv3.DeltaDiscoveryResponse), make(chan error, 1)
	go func() {
		defer close(ended)
		defer close(responses)
		for {
			r, err := t.wire.Recv()
			if errors.Is(err, io.EOF) {
				err = errClosed
			}
			if err != nil {
				ended <- err
				return
			}
			select {
			case responses <- r:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
	}()
	return responses, ended
}

// send adds the node to the first request.
func (t *stream) send(r *discoveryv3.DeltaDiscoveryRequest) error {
	if !t.greets {
		r.Node, t.greets = t.server.client.nodeProto(), true
	}
	if err := t.wire.Send(r); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // the stream is at its end, and its reader has the reason
}

// subscribe asks for what is wanted and was not asked for, and lets go of what is
// no longer. The first request of a type says which versions are known.
func (t *stream) subscribe() error {
	for i := range kinds {
		r := t.server.client.names(t, i, time.Now())
		if r == nil {
			continue
		}
		if err := t.send(r); err != nil {
			return err
		}
	}
	return nil
}

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

// answer takes a response in and acknowledges it, or says what of it was refused.
// What was good in it is in force either way.
func (t *stream) answer(r *discoveryv3.DeltaDiscoveryResponse) error {
	if !t.spoke {
		t.greeted()
	}
	i := indexOf(r.GetTypeUrl())
	if i < 0 || t.asked[i] == nil {
		// An acknowledgment would be the first request of its type, which asks for
		// everything there is.
		t.server.client.strange(t, r)
		return nil
	}
	refused := t.server.client.apply(t, i, r, time.Now())
	ack := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
	if len(refused) > 0 {
		ack.ErrorDetail = &status.Status{Code: int32(codes.InvalidArgument), Message: join(refused)}
	}
	return t.send(ack)
}

// maxRefused bounds how many refused resources one NACK names.
const maxRefused = 16

func join(refused []string) string {
	if n := len(refused) - maxRefused; n > 0 {
		refused = append(slices.Clone(refused[:maxRefused]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(refused, "; ")
}

// greeted reads what the server made of the node, which it says before its first
// response.
func (t *stream) greeted() {
	header, err := t.wire.Header()
	if err != nil {
		return // the stream is at its end, and its reader has the reason
	}
	refused := short(strings.Join(header.Get(mesh.HeaderRefused), "; "))
	c, s := t.server.client, t.server
	c.mu.Lock()
	defer c.mu.Unlock()
	if refused != "" && refused != s.mu.refused {
		c.log.Error("the control plane does not announce this sidecar as it asks to be: others may not find it", "peer", s.address, "err", refused)
	}
	s.mu.refused = refused
}

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
