package journal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"

	"pannier/journal/wire"
)

const (
	// maxSubscriptions bounds what is kept in memory, revoked ones included, and
	// the deliveries of one publication.
	maxSubscriptions = 256
	maxDeliveries    = 1000 // of one notice, replays included
)

// subscriptions are all there are, in memory.
type subscriptions struct {
	mu struct {
		sync.RWMutex
		byID map[ID]*wire.Subscription // never changed once they are here
	}
}

func newSubscriptions() *subscriptions {
	s := &subscriptions{}
	s.mu.byID = map[ID]*wire.Subscription{}
	return s
}

func (s *subscriptions) load(txn *page) error {
	return eachRecord(txn, []byte{classWebhook}, func() *wire.Subscription { return &wire.Subscription{} },
		func(key []byte, one *wire.Subscription) { s.set(ID(key[1:17]), one) })
}

func (s *subscriptions) set(id ID, one *wire.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.byID[id] = one
}

// SubscriptionID is the id of an owner's subscription of a URL: subscribing twice
// makes one. It is a UUID of version 8.
func SubscriptionID(owner, url string) ID {
	sum := sha256.Sum256([]byte(owner + "\x00" + url))
	id := ID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Subscribe makes it the owner's subscription of its URL, durably, and returns it
// as it is kept. One that was there is replaced, and is in force again if it had
// been revoked; a secret it had is kept where none is given.
func (j *Journal) Subscribe(ctx context.Context, in *wire.Subscription, key *Key) (kept *wire.Subscription, replayed bool, err error) {
	id := SubscriptionID(in.Owner, in.CallbackUrl)
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		was := &wire.Subscription{}
		found, err := t.get(idKey(classWebhook, id), was)
		if err != nil {
			return err
		}
		if thing, err := t.once(key, id[:]); err != nil || thing != nil {
			kept, replayed = was, thing != nil
			return err
		}
		if n, err := t.countOf(classWebhook, len(j.Subscriptions())); !found && (err != nil || n >= maxSubscriptions) {
			return cmp.Or(err, ErrTooMany)
		}
		in.Id, in.UpdatedMs = id[:], ms(t.now)
		if in.CreatedMs = in.UpdatedMs; found {
			in.CreatedMs = was.CreatedMs
		}
		if in.Secret == "" {
			in.Secret = was.Secret
		}
		kept = in
		return t.putSubscription(id, in)
	}})
	return kept, replayed, err
}

// Unsubscribe revokes a subscription; one that is revoked stays as it is.
func (j *Journal) Unsubscribe(ctx context.Context, id ID) (kept *wire.Subscription, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		kept = &wire.Subscription{}
		found, err := t.get(idKey(classWebhook, id), kept)
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNotFound
		case kept.RevokedMs != 0:
			return nil
		}
		kept.RevokedMs = ms(t.now)
		kept.UpdatedMs = kept.RevokedMs
		return t.putSubscription(id, kept)
	}})
	return kept, err
}

func (t *tx) putSubscription(id ID, s *wire.Subscription) error {
	t.after(func() { t.j.subscriptions.set(id, s) })
	return t.put(idKey(classWebhook, id), s)
}

// Subscriptions lists them in the order they were made, revoked ones too. They are
// not to be changed.
func (j *Journal) Subscriptions() []*wire.Subscription {
	j.subscriptions.mu.RLock()
	defer j.subscriptions.mu.RUnlock()
	return slices.SortedFunc(maps.Values(j.subscriptions.mu.byID), func(a, b *wire.Subscription) int {
		if d := a.CreatedMs - b.CreatedMs; d != 0 {
			return int(d)
		}
		return slices.Compare(a.Id, b.Id)
	})
}

// Publish keeps a notice and accepts its deliveries, all in one commit: after a
// crash there are all of them, or there was no notice. It returns what is kept
// under the id, which is another where the key was used before.
func (j *Journal) Publish(ctx context.Context, id ID, in *wire.Notice, deliveries []Accept, key *Key) (ID, *wire.Notice, bool, error) {
	var kept *wire.Notice
	replayed := false
	ids, envelopes, err := j.encodeAll(deliveries)
	if err != nil {
		return id, nil, false, err
	}
	err = j.do(ctx, third, &op{run: func(t *tx) error {
		thing, err := t.once(key, id[:])
		if err != nil {
			return err
		}
		if thing != nil {
			kept, id, replayed = &wire.Notice{}, ID(thing), true
			_, err := t.get(idKey(classNotice, id), kept)
			return err
		}
		in.AcceptedMs = ms(t.now)
		kept = in
		return t.deliver(id, kept, deliveries, ids, envelopes)
	}})
	return id, kept, replayed, err
}

// Republish accepts further deliveries of a notice.
func (j *Journal) Republish(ctx context.Context, id ID, deliveries []Accept, key *Key) (kept *wire.Notice, replayed bool, err error) {
	ids, envelopes, err := j.encodeAll(deliveries)
	if err != nil {
		return nil, false, err
	}
	err = j.do(ctx, third, &op{run: func(t *tx) error {
		kept = &wire.Notice{}
		if found, err := t.get(idKey(classNotice, id), kept); err != nil || !found {
			if err == nil {
				err = ErrNotFound
			}
			return err
		}
		thing, err := t.once(key, id[:])
		if replayed = thing != nil; err != nil || replayed {
			return err
		}
		return t.deliver(id, kept, deliveries, ids, envelopes)
	}})
	return kept, replayed, err
}

func (j *Journal) encodeAll(deliveries []Accept) (ids []ID, envelopes [][]byte, err error) {
	for i := range deliveries {
		id := NewID()
		env, err := j.encodeEnvelope(&deliveries[i], id, j.now())
		if err != nil {
			return nil, nil, err
		}
		ids, envelopes = append(ids, id), append(envelopes, env)
	}
	return ids, envelopes, nil
}

func (t *tx) deliver(id ID, n *wire.Notice, deliveries []Accept, ids []ID, envelopes [][]byte) error {
	if len(n.Deliveries)+len(deliveries) > maxDeliveries {
		return ErrTooMany
	}
	for i := range deliveries {
		var res Accepted
		if err := t.accept(&deliveries[i], ids[i], envelopes[i], &res); err != nil {
			return err
		}
		n.Deliveries = append(n.Deliveries, ids[i][:])
	}
	return t.put(idKey(classNotice, id), n)
}

// Notice returns what was published under an id.
func (j *Journal) Notice(id ID) (*wire.Notice, error) {
	n := &wire.Notice{}
	err := j.view(func(txn *page) error {
		found, err := readMessage(txn, idKey(classNotice, id), n)
		if err == nil && !found {
			err = ErrNotFound
		}
		return err
	})
	return n, err
}
