package xds

import "time"

// Figures is what an operator watches of a client. Servers come and go with the
// configuration, agents with what is sent: neither is named in it.
type Figures struct {
	Live       bool      // a server speaks
	Confirmed  time.Time // when one last did, or would have; zero: never
	Nacks      uint64    // responses with something that was refused
	Unexpected uint64    // responses for types nobody asked for
	Agents     int       // subscribed to
	Resources  map[string]int
}

// Figures counts. It reads memory only, and a few words of it.
func (c *Client) Figures() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := Figures{Live: c.live(), Confirmed: c.lastHeard(time.Now()), Agents: len(c.mu.agents), Resources: map[string]int{}}
	for _, s := range c.mu.servers {
		f.Nacks += s.mu.nacks
		f.Unexpected += s.mu.strange
	}
	for i, byName := range c.mu.resources {
		f.Resources[kinds[i].word] = len(byName)
	}
	return f
}
