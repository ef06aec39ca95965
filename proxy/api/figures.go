package api

import (
	"sync/atomic"
	"time"
)

// Figures is what an operator watches of the app API.
type Figures struct {
	Streams         int64  // of agents, open
	Unauthenticated uint64 // requests without a valid key
}

// Served is a request that has been answered, for those who count.
type Served struct {
	Method, Route string // Route is a template; empty: none
	Status        int    // 0: the client has hung up before there was one
	Took          time.Duration
	Trace         string // traceparent of its span; empty: there is none
}

// figures are counted where it happens.
type figures struct {
	streams         atomic.Int64
	unauthenticated atomic.Uint64
}

// Figures counts.
func (a *API) Figures() Figures {
	return Figures{Streams: a.figures.streams.Load(), Unauthenticated: a.figures.unauthenticated.Load()}
}
