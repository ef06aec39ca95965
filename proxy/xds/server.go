package xds

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// server is one control plane: at most one connection with one stream.
type server struct {
	client  *Client
	address string
	place   int // among the servers

	turn   sync.Mutex    // held by run
	names  chan struct{} // the names to ask for may have changed
	reopen chan struct{} // the node has changed

	// mu is the client's: these fields are guarded by it.
	mu struct {
		state   string
		since   time.Time // of the state
		live    bool      // the present stream has had a response
		failed  bool      // the last stream ended, or none came to be, without a response
		last    string    // what ended the last stream
		lastAt  time.Time
		nextTry time.Time
		heard   time.Time // the last response
		lostAt  time.Time // when a stream that had a response ended
		nacks   uint64
		strange uint64 // responses for types nobody asked for
		refused string // why it does not announce this sidecar as it asks to be
	}
}

// The states of a server.
const (
	stateStandby    = "standby"    // not asked: one before it is enough
	stateConnecting = "connecting" // or connected, and nothing said yet
	stateConnected  = "connected"
	stateWaiting    = "waiting" // for the next try
)

var (
	errSilent = errors.New("connected, but it has said nothing for 60 s")
	errReopen = errors.New("the node has changed")
	errClosed = errors.New("the server closed the stream")
)

func newServer(c *Client, address string, place int) *server {
	s := &server{client: c, address: address, place: place, names: make(chan struct{}, 1), reopen: make(chan struct{}, 1)}
	s.mu.state, s.mu.since = stateStandby, time.Now()
	return s
}

// run keeps a stream to the server until ctx ends. The pauses between tries grow
// until one has brought a response.
func (s *server) run(ctx context.Context) {
	s.turn.Lock()
	defer s.turn.Unlock()
	defer s.enter(stateStandby)
	fruitless := 0
	for ctx.Err() == nil {
		spoke, err := s.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		fruitless++
		if spoke {
			fruitless = 1
		}
		wait := pause(fruitless, rand.Float64())
		s.ended(spoke, err, time.Now(), wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// connect holds one connection as long as its streams only end to be opened
// again.
func (s *server) connect(ctx context.Context) (spoke bool, err error) {
	s.enter(stateConnecting)
	// Each try is a connection of its own: gRPC would wait between its own tries,
	// and resolve the name only now and then.
	options := append(slices.Clone(s.client.o.Dial),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	)
	if s.client.o.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(token{s.client.o.Token, s.address}))
	}
	conn, err := grpc.NewClient("passthrough:///"+s.address, options...)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	for {
		heard, err := s.stream(ctx, conn)
		spoke = spoke || heard
		if !errors.Is(err, errReopen) {
			return spoke, err
		}
	}
}

func (s *server) enter(state string) {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	s.mu.state, s.mu.since = state, time.Now()
	if state != stateConnected {
		s.mu.live = false
	}
}

// ended notes the end of a try. The next server may now be needed.
func (s *server) ended(spoke bool, err error, now time.Time, wait time.Duration) {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !s.mu.failed
	s.mu.state, s.mu.since, s.mu.live, s.mu.failed = stateWaiting, now, false, !spoke
	s.mu.last, s.mu.lastAt, s.mu.nextTry = "", now, now.Add(wait)
	if err != nil {
		s.mu.last = short(err.Error())
	}
	poke(c.wake)
	if spoke && errors.Is(err, errClosed) {
		return // as servers do to spread their clients
	}
	if first {
		c.log.Warn("control plane out of reach; what is known stays in force", "peer", s.address, "err", err)
	}
}
