package proxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/proxy/admin"
	"pannier/proxy/webhook"
)

// bindings are how the apps of the agents served here receive: as configured, or
// as an operator has set since. What was set is kept in the journal and beats the
// configuration until it is taken back.
type bindings struct {
	journal *journal.Journal
	mailbox *inbound.Mailbox
	pusher  *webhook.Pusher
	told    map[string]webhook.Courier // what takes messages about tasks, by address; never changed

	mu         sync.Mutex // one change at a time
	configured []AgentOption
}

// bindingTime is how long whoever sets a binding waits for the pusher to act on it.
const bindingTime = 5 * time.Second

// apply tells the pusher whom to push to, and the mailbox who reads an inbox.
func (b *bindings) apply() {
	targets, inboxes := map[string]string{}, []string{}
	for _, a := range b.Agents() {
		switch {
		case a.URL != "":
			targets[a.Agent] = a.URL
		case a.Binding == inboxBinding:
			inboxes = append(inboxes, a.Agent)
		}
	}
	b.mailbox.Inboxes(inboxes)
	b.pusher.Set(targets)
}

// subscribed tells the pusher, and the mailbox before it, to whom events are sent.
func (b *bindings) subscribed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, addresses := map[string]webhook.Subscriber{}, slices.Collect(maps.Keys(b.told))
	for _, s := range b.journal.Subscriptions() {
		if !journal.InForce(s) {
			continue
		}
		to := webhook.Subscriber{URL: s.CallbackUrl}
		if s.Secret != "" {
			to.Secret, _ = webhook.ParseSecret(s.Secret) // it was checked when it was taken
		}
		address := journal.SubscriberAddress(journal.ID(s.Id))
		all[address], addresses = to, append(addresses, address)
	}
	b.mailbox.Own(addresses)
	b.pusher.SetSubscribers(all)
	b.pusher.SetCouriers(b.told)
}

// Agents lists what is served here, by address.
func (b *bindings) Agents() []admin.AgentStatus {
	by := map[string]*admin.AgentStatus{}
	for _, a := range b.configured {
		by[a.Address] = &admin.AgentStatus{Agent: a.Address, Served: "configured", Binding: a.Binding, URL: a.URL}
	}
	for _, a := range b.journal.Agents() {
		if by[a.Name] == nil && a.Learned {
			by[a.Name] = &admin.AgentStatus{Agent: a.Name, Served: "learned"}
		}
		if s := by[a.Name]; s != nil && a.Binding != "" {
			// It was checked when it was set; an older program may know less of it.
			if set, err := ParseAgent(a.Name + "=" + a.Binding); err == nil {
				s.Binding, s.URL, s.Set = set.Binding, set.URL, true
			}
		}
	}
	b.figures(by)
	out := make([]admin.AgentStatus, 0, len(by))
	for _, s := range by {
		if s.Binding == "" {
			s.Binding = "open"
		}
		s.Door = b.mailbox.Door(s.Agent)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(x, y admin.AgentStatus) int { return strings.Compare(x.Agent, y.Agent) })
	return out
}

// figures adds who reads, and what there is to read.
func (b *bindings) figures(by map[string]*admin.AgentStatus) {
	all, _ := b.mailbox.Figures()
	for _, f := range all {
		if s := by[f.Agent]; s != nil {
			s.Readers, s.Working = f.Readers, f.Unsettled+f.Apart
		}
	}
	for _, q := range b.journal.Queues() {
		if s := by[b.journal.AgentName(q.Agent)]; s != nil && q.Name == journal.BacklogMail && !q.Oldest.IsZero() && !b.journal.ForThreads(q.Agent) {
			s.Oldest = &q.Oldest
		}
	}
}

// SetBinding changes how the app of an agent receives, at once and durably; an
// empty binding takes a change back. A door that is shut opens, also where nothing
// has changed: somebody has looked. What is leased, or was sent, is still
// answered as it was handed over.
func (b *bindings) SetBinding(ctx context.Context, agent, binding string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	parsed, err := ParseAgent(agent)
	if err == nil && binding != "" {
		parsed, err = ParseAgent(parsed.Address + "=" + binding)
	}
	if err != nil {
		return &admin.BindingError{Why: err.Error()}
	}
	if !b.mailbox.Serves(parsed.Address) {
		return fmt.Errorf("%s: %w", parsed.Address, inbound.ErrNotServed)
	}
	if err := b.journal.SetBinding(ctx, parsed.Address, binding); err != nil {
		return err
	}
	b.apply()
	ctx, cancel := context.WithTimeout(ctx, bindingTime)
	defer cancel()
	// It is durable: that this takes longer, or is cut short by a stop, is no failure.
	_ = b.pusher.Acted(ctx)
	b.mailbox.LookAgain(parsed.Address)
	return nil
}
