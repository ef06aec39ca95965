package outbound

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// Trust tells for which agents the sidecar at the other end of a stream may
// speak, by what its channel proves; it is given the stream's context. An error
// refuses the whole stream; one of speaksFor says who the peer is and why not.
// The answer may change while the stream is open.
type Trust func(stream context.Context) (speaksFor func(agent string) error, err error)

// SetTrust makes the dispatcher ask who its peers are; without it everybody may
// speak for every agent. Called before Run.
func (d *Dispatcher) SetTrust(t Trust) { d.trust = t }

// prove finds out for whom the peer of a new stream speaks. A journal that has
// intents of ours on record must answer through a peer that may have all of them:
// else whoever says its id could have them taken from it.
func (s *session) prove() error {
	if s.d.trust == nil {
		return nil
	}
	var err error
	if s.speaksFor, err = s.d.trust(s.stream.Context()); err != nil {
		return err
	}
	var after journal.ID
	for {
		ids, err := s.d.journal.HeldAt(s.peer.Journal, after, page)
		if err != nil {
			return fmt.Errorf("list what is held: %w", err)
		}
		strange, err := s.strangers(ids)
		if err != nil {
			return err
		}
		for _, why := range strange {
			return fmt.Errorf("journal %s has intents of ours and answers through another peer: %w; give it its identity back, or the journal up with pannier peers forget", s.peer.Journal, why)
		}
		if len(ids) < page {
			return nil
		}
		after = ids[len(ids)-1]
	}
}

const (
	// provenMost is how many agents of a journal are remembered: one of them that
	// whoever answers next may speak for, too, tells it from a stranger.
	provenMost = 16
	// provenLong bounds one of them: it is the peer's word.
	provenLong = 512
	// provenFor is how long after it answered last a journal is kept for its peer.
	provenFor = 24 * time.Hour
)

// proven are some of the agents that the peer says it serves and may speak for;
// none where nobody asks.
func (s *session) proven() (agents []string) {
	if s.speaksFor == nil {
		return nil
	}
	for _, a := range s.agents {
		if len(agents) < provenMost && len(a) <= provenLong && s.speaksFor(a) == nil {
			agents = append(agents, a)
		}
	}
	return agents
}

// strangeTo returns why the peer is none that a journal was proven to be of: it may
// speak for none of these agents. Whoever has a certificate can say any journal's
// id, and could end its stream with it, or keep it out by a high epoch.
func (s *session) strangeTo(agents []string) (why error) {
	if s.speaksFor == nil {
		return nil
	}
	for _, a := range agents {
		if why = s.speaksFor(a); why == nil {
			return nil
		}
	}
	return why
}

// speaks returns nil where the peer may speak for an agent.
func (s *session) speaks(agent string) error {
	if s.speaksFor == nil {
		return nil
	}
	return s.speaksFor(agent)
}

// strangers are those of our intents for whose agent the peer may not speak, and
// why. What is not ours is not among them.
func (s *session) strangers(ids []journal.ID) (map[journal.ID]error, error) {
	if s.speaksFor == nil || len(ids) == 0 {
		return nil, nil
	}
	agents, err := s.d.journal.Dests(ids)
	if err != nil {
		return nil, fmt.Errorf("read where intents go: %w", err)
	}
	strange := map[journal.ID]error{}
	known := map[journal.Agent]error{}
	for i, a := range agents {
		if a == 0 {
			continue
		}
		why, asked := known[a]
		if !asked {
			why = s.speaks(s.d.journal.AgentName(a))
			known[a] = why
		}
		if why != nil {
			strange[ids[i]] = why
		}
	}
	return strange, nil
}

// disown takes all effect from reports about intents that the peer has no say
// in, an app's final answer too. They are acked like others: the numbers go on,
// and whoever sends them has done what it could. It returns their intents.
func (s *session) disown(list []*wire.Report) (map[journal.ID]error, error) {
	if s.speaksFor == nil {
		return nil, nil
	}
	ids := make([]journal.ID, 0, len(list))
	for _, r := range list {
		if id, err := journal.IDOf(r.Id); err == nil {
			ids = append(ids, id)
		}
	}
	strange, err := s.strangers(ids)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		id, err := journal.IDOf(r.Id)
		if err != nil {
			continue
		}
		if why := strange[id]; why != nil {
			s.d.log.Warn("report of a peer that may not speak for the agent changes nothing", "intent_id", id.String(), "peer", s.link.address, "err", why)
			r.Fact, r.OfferNo = uint32(state.NoFact), 0
		}
	}
	return strange, nil
}

// mask leaves out of acks what is none of the peer's business.
func mask(acked []journal.Acked, strange map[journal.ID]error) {
	for i, a := range acked {
		if strange[a.ID] != nil {
			acked[i] = journal.Acked{ID: a.ID}
		}
	}
}

// own leaves those of the lines of a list that the peer may have. It is told
// nothing of the others, and they change nothing.
func (s *session) own(lines []*peer.Holding) ([]*peer.Holding, error) {
	if s.speaksFor == nil {
		return lines, nil
	}
	ids := make([]journal.ID, 0, len(lines))
	for _, l := range lines {
		if id, err := journal.IDOf(l.Id); err == nil {
			ids = append(ids, id)
		}
	}
	strange, err := s.strangers(ids)
	if err != nil || len(strange) == 0 {
		return lines, err
	}
	return slices.DeleteFunc(lines, func(l *peer.Holding) bool {
		id, err := journal.IDOf(l.Id)
		return err == nil && strange[id] != nil
	}), nil
}

// mayAsk returns the refusal of a question about an intent that is none of the
// peer's business; nil: it may ask.
func (s *session) mayAsk(a *peer.Ask) *peer.Answer {
	id, err := journal.IDOf(a.Id)
	if err != nil {
		return nil // whoever answers says so
	}
	strange, err := s.strangers([]journal.ID{id})
	if err == nil && strange[id] == nil {
		return nil
	}
	return &peer.Answer{No: a.No, Error: AnswerUnknown, AtMs: time.Now().UnixMilli()}
}
