package inbound

import "pannier/journal/state"

// AgentFigures is what an operator watches of one mailbox.
type AgentFigures struct {
	Agent      string
	Configured bool
	Door       Shut
	Shut       state.Cause // why its app is handed nothing, or one at a time; NoCause while it is open
	Readers    int         // polls and streams that are waiting, and what sends to its app
	Unsettled  int         // counts against credit
	Apart      int         // worked on, and does not
}

// Figures describes each mailbox, and says how much one of them may hold. It reads
// memory only.
func (m *Mailbox) Figures() (all []AgentFigures, maxOpen int) {
	m.mu.Lock()
	defer m.unlock()
	all = make([]AgentFigures, 0, len(m.mu.boxes))
	for name, b := range m.mu.boxes {
		if m.mu.own[name] || !m.mu.configured[name] && !b.learned {
			continue // a subscriber's, or one that is served no more
		}
		all = append(all, AgentFigures{
			Agent: name, Configured: m.mu.configured[name], Door: b.door.shut, Shut: m.shutBy(b), Readers: b.door.readers,
			Unsettled: b.credit.total, Apart: b.credit.apart,
		})
	}
	return all, m.o.MaxOpen
}

// Shuts lists the states of a door.
func Shuts() []Shut { return []Shut{Open, NoReader, Failing, Rejecting, Unreachable, Throttled, Gone} }

// ServerFigures is what an operator watches of the homes.
type ServerFigures struct {
	Homes   int    // with a stream
	Refused uint64 // streams that proved nothing, or not what they had to
}

// Figures counts. It reads memory only.
func (s *Server) Figures() ServerFigures {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ServerFigures{Homes: len(s.mu.sessions), Refused: s.refused.Load()}
}
