package xds

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Run talks to the servers and keeps the file until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { c.keep(ctx) })
	fallbacks := make([]context.CancelFunc, len(c.mu.servers)) // nil: does not run
	start := func(i int) {
		ctx, cancel := context.WithCancel(ctx)
		fallbacks[i] = cancel
		all.Go(func() { c.mu.servers[i].run(ctx) })
	}
	if len(c.mu.servers) > 0 {
		start(0)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(c.housekeep(time.Now()))
		for i := 1; i < len(fallbacks); i++ {
			switch wanted := c.wanted(i); {
			case wanted && fallbacks[i] == nil:
				c.log.Warn("a control plane is out of reach and something is missing: asking the next", "peer", c.mu.servers[i].address)
				start(i)
			case !wanted && fallbacks[i] != nil && c.better(i):
				fallbacks[i]()
				fallbacks[i] = nil
			}
		}
		select {
		case <-ctx.Done():
			for _, cancel := range fallbacks {
				if cancel != nil {
					cancel()
				}
			}
			return nil
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// wanted reports whether the i-th server is to be asked: each before it was tried
// and does not speak, and something is missing that is not to be had from memory:
// where an agent is, or that anybody hears of those that are here.
func (c *Client) wanted(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	unheard := len(c.mu.node.Agents) > 0
	for _, s := range c.mu.servers[:i] {
		if !s.mu.failed || s.mu.live {
			return false
		}
		unheard = unheard && time.Since(s.mu.lostAt) >= unheardFor
	}
	if unheard {
		return true
	}
	for _, a := range c.mu.agents {
		if !a.known {
			return true
		}
	}
	return false
}

// better reports whether a server before the i-th speaks.
func (c *Client) better(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.mu.servers[:i], func(s *server) bool { return s.mu.live })
}

// live reports whether a server speaks. Called with mu held.
func (c *Client) live() bool {
	return slices.ContainsFunc(c.mu.servers, func(s *server) bool { return s.mu.live })
}
