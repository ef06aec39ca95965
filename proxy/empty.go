package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pannier/journal"
)

// ErrNoJournal: there is none to be emptied, and none was made.
var ErrNoJournal = errors.New("no journal there")

// Left is what a journal still has that somebody waits for. It names the first few.
type Left struct {
	Open    int      // intents homed here that have not ended
	Held    int      // intents of other sidecars that are here and not settled
	Unacked []string // other sidecars that have not heard all of what became of theirs
	First   []Item   // of both kinds of intents
}

// Item is one intent that is left, and why.
type Item struct{ ID, To, Why string }

// None reports whether the journal can go.
func (l Left) None() bool { return l.Open == 0 && l.Held == 0 && len(l.Unacked) == 0 }

const (
	leftMost   = 20 // that are named
	leftTime   = 5 * time.Second
	emptyEvery = 200 * time.Millisecond
	// emptyRest is how many of these pass without a look at what is held here while nothing
	// is written and nobody comes or goes: it may be a hundred thousand intents.
	emptyRest = 5

	// never is when what waits for an app goes back to its home by itself: its home
	// may not have found us yet, and would not hear of it.
	never = 100 * 365 * 24 * time.Hour
)

// Empty opens the journal of a sidecar that is gone for good, with its apps, and runs
// until there is nothing left in it, or ctx ends. It serves no agent and no app: what is
// homed here is delivered elsewhere, and what is held here for others is given back as
// soon as its home is connected, and can hear of it. What an app has under a lease is
// waited for until that is over, which is no attempt.
func (p *Proxy) Empty(ctx, force context.Context) (left Left, err error) {
	there, err := journal.Exists(p.opts.Journal)
	if err != nil {
		return left, err
	}
	if !there {
		return left, ErrNoJournal
	}
	p.emptying = true
	p.opts.Agents, p.opts.Learn, p.opts.Limits.Inbound.ReleaseAfter = nil, learnOff, never
	alive, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	r := &run{Proxy: p, crew: crew{fail}}
	r.phase.Store(draining)
	if err = r.start(ctx, force, alive); err == nil {
		left, err = r.empty(ctx, force, alive)
	}
	r.phase.Store(closing)
	return left, errors.Join(err, r.close(alive, err))
}

func (r *run) empty(ctx, force, alive context.Context) (left Left, err error) {
	self, p := r.journal.Identity().Journal, r.parts.Load()
	hears := func(home journal.ID) bool { return home == self || p.server.Connected(home) }
	look := time.NewTicker(emptyEvery)
	defer look.Stop()
	last, rest := "", 0
	for {
		now, err := r.changes(hears)
		if err != nil {
			return left, err
		}
		if rest--; now != last || rest < 0 {
			last, rest = now, emptyRest
			if err := p.mailbox.GiveBack(alive, hears); err != nil {
				return left, err
			}
			if left, err = r.left(); err != nil || left.None() {
				return left, err
			}
		}
		select {
		case <-look.C:
			continue
		case <-alive.Done():
			return left, context.Cause(alive)
		case <-ctx.Done():
		}
		if left, err = r.left(); err != nil {
			return left, err
		}
		ctx, cancel := context.WithTimeout(force, leftTime)
		defer cancel()
		return left, r.name(ctx, &left)
	}
}

// changes is another word after each write to the journal, and when a home comes or goes.
func (r *run) changes(hears func(home journal.ID) bool) (string, error) {
	word := fmt.Sprint(r.journal.Stats().Seq)
	homes, err := r.journal.Homes()
	for _, h := range homes {
		word += fmt.Sprint(" ", hears(h.ID))
	}
	return word, err
}

// left counts what is left.
func (r *run) left() (left Left, err error) {
	for _, b := range r.journal.Backlogs() {
		switch {
		case b.Name == journal.BacklogOpen:
			left.Open = b.Count
		case b.Name == journal.BacklogMail && b.Count > 0: // ours among them
			err = r.foreign(func(journal.Mail, string) { left.Held++ })
		}
	}
	homes, also := r.journal.Homes()
	for _, h := range homes {
		if h.Unacked && len(left.Unacked) < leftMost {
			left.Unacked = append(left.Unacked, h.ID.String()+" at "+h.Address)
		}
	}
	return left, errors.Join(err, also)
}

// foreign calls f with all that is here for other homes and not settled.
func (r *run) foreign(f func(m journal.Mail, agent string)) error {
	for _, a := range r.journal.Agents() {
		mail, err := r.journal.MailAll(a.Agent)
		if err != nil {
			return err
		}
		for _, m := range mail {
			if m.Home != r.journal.Identity().Journal {
				f(m, a.Name)
			}
		}
	}
	return nil
}

// name says of the first that are left why they are.
func (r *run) name(ctx context.Context, left *Left) error {
	open, _, err := r.journal.List(journal.Filter{Open: true, Limit: leftMost})
	if err != nil {
		return err
	}
	p := r.parts.Load()
	for _, i := range open {
		left.First = append(left.First, Item{ID: i.ID.String(), To: r.journal.AgentName(journal.Agent(i.Head.Dest)), Why: p.api.Why(ctx, i)})
	}
	return r.foreign(func(m journal.Mail, agent string) {
		if len(left.First) >= leftMost {
			return
		}
		why := "Its home is not connected, and would not hear that it is given back."
		if p.server.Connected(m.Home) {
			var words []string
			for _, d := range p.mailbox.Why(m.ID) {
				words = append(words, d.Detail())
			}
			why = strings.Join(words, " ")
		}
		left.First = append(left.First, Item{ID: m.ID.String(), To: agent, Why: why})
	})
}
