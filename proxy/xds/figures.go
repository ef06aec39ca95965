package xds

import (
	"strings"
	"time"
)

// Figures is what an operator watches of a client. Servers come and go with the
// configuration, agents with what is sent: neither is named in it.
type Figures struct {
	Live       bool      // a server speaks
	Confirmed  time.Time // when one last did, or would have; zero: never
	Nacks      uint64    // responses with something that was refused
	Unexpected uint64    // responses for types nobody asked for
	Agents     int       // subscribed to
	Resources  map[Counted]int
}

// Counted is a type of resource, and a state of some of it in lower case. What is in force
// though its state does not say so ends in _but_cached, as with gRPC (A78, A88): an
// alert can be written on what is used by mistake, or no longer.
type Counted struct{ Type, State string }

// cached ends the states of what is in force all the same.
const cached = "_but_cached"

var countedStates = [...]string{Requested, Acked, Stale, DoesNotExist, DoesNotExist + cached, Nacked, Nacked + cached, ReceivedError, ReceivedError + cached}

func (r *resource) counted(stale bool) Counted {
	state := r.state(stale)
	if r.value != nil && state != Acked && state != Stale {
		state += cached
	}
	return Counted{kinds[r.kind].word, strings.ToLower(state)}
}

// Figures counts. It reads memory only, and a few words for each resource.
func (c *Client) Figures() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := Figures{Live: c.live(), Confirmed: c.lastHeard(time.Now()), Agents: len(c.mu.agents), Resources: map[Counted]int{}}
	for _, s := range c.mu.servers {
		f.Nacks += s.mu.nacks
		f.Unexpected += s.mu.strange
	}
	for i, byName := range c.mu.resources {
		for _, state := range countedStates {
			f.Resources[Counted{kinds[i].word, strings.ToLower(state)}] = 0
		}
		for _, r := range byName {
			f.Resources[r.counted(!f.Live)]++
		}
	}
	return f
}
