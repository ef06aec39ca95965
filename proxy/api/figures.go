package api

import "sync/atomic"

// Figures is what an operator watches of the app API.
type Figures struct {
	Streams         int64  // of agents, open
	Unauthenticated uint64 // requests without a valid key
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
