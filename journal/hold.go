package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/failpoint"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// hand is the holder's view of one intent inside an operation.
type hand struct {
	id  ID
	rec wire.Handover
}

func (h *hand) phase() state.Phase { return state.Phase(h.rec.Phase) }
func (h *hand) agent() Agent       { return Agent(h.rec.Agent) }
func (h *hand) home() ID           { return ID(h.rec.Home) }

func (t *tx) hand(id ID) (*hand, bool, error) {
	h := &hand{id: id}
	found, err := t.get(idKey(classHandover, id), &h.rec)
	return h, found, err
}

func (t *tx) saveHand(h *hand) error { return t.put(idKey(classHandover, h.id), &h.rec) }

// Hold journals offers of a home in the order given. It returns at once; done
// runs on the committer when all of them are durable here: only then may home
// be told held. A repeated offer is answered as held again, and its higher
// number taken over.
func (j *Journal) Hold(home Identity, rs []HoldRequest, done func([]HoldResult, error)) {
	out := make([]HoldResult, len(rs))
	ops := make([]*op, 0, len(rs))
	for i := range rs {
		r, res := &rs[i], &out[i]
		var env wire.Envelope
		if err := proto.Unmarshal(r.Envelope, &env); err != nil {
			res.Err = fmt.Errorf("offer: %w", err)
			continue
		}
		id, err := IDOf(env.Id)
		if err != nil {
			res.Err = fmt.Errorf("offer: %w", err)
			continue
		}
		res.ID, res.OfferNo = id, r.OfferNo
		o := &op{before: failpoint.HolderBeforeHeldCommit, after: failpoint.HolderAfterHeldCommit}
		o.run = func(t *tx) error {
			res.Handed, res.Fresh = nil, false
			res.Err = t.hold(home, id, r, &env, res)
			return res.Err
		}
		ops = append(ops, o)
	}
	j.submitAll(second, ops, func(err error) {
		for i := range out {
			out[i].fill(err)
		}
		if j.running() == nil {
			err = nil // each result carries its own
		}
		done(out, err)
	})
}

// fill makes sure that nothing is reported as held that the journal refused.
func (r *HoldResult) fill(err error) {
	if r.Err == nil && (errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed)) {
		r.Err, r.Handed = err, nil
	}
}

func (t *tx) hold(home Identity, id ID, r *HoldRequest, env *wire.Envelope, res *HoldResult) error {
	h, found, err := t.hand(id)
	if err != nil {
		return err
	}
	if found && (h.phase().Open() || h.phase().Settled()) {
		return t.holdAgain(h, home, r)
	}
	if homed, err := t.has(idKey(classHead, id)); err != nil || homed {
		return errors.Join(err, fmt.Errorf("offer of %s: it is homed here", id))
	}
	agent, err := t.intern(env.ToAgent)
	if err != nil {
		return err
	}
	fresh := &hand{id: id, rec: wire.Handover{
		Home: home.Journal[:], HomeEpoch: home.Epoch, OfferNo: r.OfferNo, Agent: uint32(agent.no),
		Attempts: r.Attempts, Redelivered: r.Redelivered || found && h.rec.Handovers > 0, Handovers: h.rec.Handovers,
		MaxAttempts: env.MaxDeliveryAttempts, HomeStatus: uint32(state.Submitted), HeldMs: ms(t.now),
		Taken: r.Taken, ReceiverDurability: env.ReceiverDurability,
	}}
	if r.DeliverBy > 0 {
		fresh.rec.DeliverByMs = ms(t.now.Add(r.DeliverBy))
	}
	if r.Deadline > 0 {
		fresh.rec.DeadlineAtMs = ms(t.now.Add(r.Deadline))
	}
	t.putChunks(classEnvelope, id, r.Envelope)
	res.Fresh = true
	return t.intoMailbox(fresh, env, r.Lease, res)
}

// intoMailbox takes the hold row and, where a reader waits, the lease row in
// the same commit.
func (t *tx) intoMailbox(h *hand, env *wire.Envelope, lease time.Duration, res *HoldResult) error {
	if _, err := t.step(h, state.Hold, t.now); err != nil {
		return err
	}
	if lease <= 0 {
		return t.saveHand(h)
	}
	handed, err := t.lease(h, env, lease)
	if errors.Is(err, ErrExpired) {
		return t.saveHand(h)
	}
	res.Handed = handed
	return err
}

// holdAgain answers an offer of what is already here. For something settled
// the final report is sent again: home would not offer it had it arrived.
func (t *tx) holdAgain(h *hand, home Identity, r *HoldRequest) error {
	if h.home() != home.Journal {
		return fmt.Errorf("offer of %s by journal %s: held from %s", h.id, home.Journal, h.home())
	}
	h.rec.OfferNo = max(h.rec.OfferNo, r.OfferNo)
	h.rec.HomeEpoch = home.Epoch
	if err := t.saveHand(h); err != nil {
		return err
	}
	if !h.phase().Settled() {
		return nil
	}
	if h.phase() == state.Rejected {
		return t.tell(h, state.FactRejected, &wire.Report{Text: h.rec.LastError, Attempts: h.rec.Attempts})
	}
	blob, found, err := t.getChunks(classOutcome, h.id)
	if err != nil || !found {
		return err
	}
	var out wire.Outcome
	if err := proto.Unmarshal(blob, &out); err != nil {
		return &CorruptError{Key: chunkKey(classOutcome, h.id, 0), Why: err.Error()}
	}
	return t.tell(h, state.FactAnswered, &wire.Report{Body: out.Body, Text: out.Text, Answer: uint32(triggerOf(state.Status(out.Status)))})
}

func triggerOf(end state.Status) state.Trigger {
	switch end {
	case state.Completed:
		return state.Complete
	case state.Canceled:
		return state.Cancel
	default:
		return state.Fail
	}
}

// HoldLocal moves intents of our own from the due index to our own mailbox: an
// offer that needs no frame. lease[i] > 0 hands the i-th over at once.
func (j *Journal) HoldLocal(ctx context.Context, offers []Offer, lease []time.Duration) ([]HoldResult, error) {
	out := make([]HoldResult, len(offers))
	ops := make([]*op, len(offers))
	for i := range offers {
		o, res := &offers[i], &out[i]
		res.ID, res.OfferNo = o.ID, o.OfferNo
		var env wire.Envelope
		if err := proto.Unmarshal(o.Envelope, &env); err != nil {
			return nil, &CorruptError{Key: chunkKey(classEnvelope, o.ID, 0), Why: err.Error()}
		}
		ops[i] = &op{
			before: failpoint.HolderBeforeHeldCommit, after: failpoint.HolderAfterHeldCommit,
			run: func(t *tx) error {
				res.Handed, res.Fresh = nil, false
				res.Err = t.holdLocal(o, &env, lease[i], res)
				return res.Err
			},
		}
	}
	if err := j.do(ctx, second, ops...); err != nil && j.running() != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Err == nil {
			out[i].Err = ops[i].err
		}
	}
	return out, nil
}

func (t *tx) holdLocal(o *Offer, env *wire.Envelope, lease time.Duration, res *HoldResult) error {
	l, found, err := t.life(o.ID)
	if err != nil {
		return err
	}
	if !found {
		return ErrNotFound
	}
	if !l.open() {
		return &EndedError{Status: l.status()}
	}
	if l.place() != PlaceDue || l.head.OfferNo != o.OfferNo {
		return fmt.Errorf("%w: it is elsewhere", ErrIllegal)
	}
	self := t.j.self
	t.goTo(l, PlaceLocal, time.Time{}, self.Journal)
	if err := t.saveLife(l); err != nil {
		return err
	}
	h := &hand{id: o.ID, rec: wire.Handover{
		Home: self.Journal[:], HomeEpoch: self.Epoch, OfferNo: o.OfferNo, Agent: l.head.Dest, Attempts: l.head.Attempts,
		Redelivered: o.Redelivered, Handovers: l.head.DeliveryAttempt, MaxAttempts: l.head.MaxAttempts, HomeStatus: l.head.Status,
		HeldMs: ms(t.now), Taken: l.head.Taken, DeadlineAtMs: l.head.DeadlineAtMs, ReceiverDurability: env.ReceiverDurability,
		DeliverByMs: l.head.DeliverByMs,
	}}
	res.Fresh = true
	return t.intoMailbox(h, env, lease, res)
}

// step is the one place where a hand-over changes phase. due is when it next
// matters; an open hand-over is always in the mailbox index. The caller saves.
func (t *tx) step(h *hand, m state.Move, due time.Time) (state.HandoverRow, error) {
	row, ok := state.Step(h.phase(), m)
	if !ok {
		return row, fmt.Errorf("%w: %s while %s", ErrIllegal, m, h.phase())
	}
	if row.From.Open() {
		t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
	}
	h.rec.Phase = uint32(row.To)
	if row.To != state.Ready && row.To != state.Leased && row.To != state.Working {
		t.free(h)
	}
	if row.To.Open() {
		t.mailAt(h, due)
		return row, nil
	}
	h.rec.EndedMs = ms(t.now)
	h.rec.LeaseId, h.rec.LeaseUntilMs = nil, 0
	if h.home() != t.j.self.Journal {
		t.putIndex(timeKey(classRetain, h.rec.EndedMs, h.id[:]))
	}
	return row, nil
}

func (t *tx) mailAt(h *hand, due time.Time) {
	h.rec.DueMs = ms(due)
	key := dueKey(classMail, h.agent(), h.rec.DueMs, h.id)
	t.putIndex(key)
	agent := h.agent()
	t.inserted(agentPrefix(classMail, agent), key, func() {
		if f := t.j.hooks.Mail; f != nil {
			f(agent)
		}
	})
}

// free gives back the credit of a hand-over, once.
func (t *tx) free(h *hand) {
	if h.rec.Freed {
		return
	}
	h.rec.Freed = true
	freed := Freed{ID: h.id, Agent: h.agent(), Home: h.home()}
	t.after(func() {
		if f := t.j.hooks.Freed; f != nil {
			f(freed)
		}
	})
}

// stepQuietly is a step that home has caused, or knows of already.
func (t *tx) stepQuietly(h *hand, m state.Move, due time.Time) error {
	if _, ok := state.Step(h.phase(), m); !ok {
		return nil
	}
	if _, err := t.step(h, m, due); err != nil {
		return err
	}
	return t.saveHand(h)
}

// revokeLocal ends the hand-over of an intent of our own that has ended.
func (t *tx) revokeLocal(id ID, status state.Status) error {
	h, found, err := t.hand(id)
	if err != nil || !found {
		return err
	}
	h.rec.HomeStatus, h.rec.EndedAtHome = uint32(status), true
	if h.phase().Open() {
		if _, err := t.step(h, state.Revoke, time.Time{}); err != nil {
			return err
		}
	}
	return t.saveHand(h)
}

// lease hands the intent over: the lease is durable before its bytes leave.
func (t *tx) lease(h *hand, env *wire.Envelope, d time.Duration) (*Handed, error) {
	if by := at(h.rec.DeliverByMs); !h.rec.Taken && !by.IsZero() && !by.After(t.now) {
		return nil, ErrExpired
	}
	if by := at(h.rec.DeadlineAtMs); !by.IsZero() && !by.After(t.now) {
		return nil, ErrExpired
	}
	row, err := t.step(h, state.Lease, t.now.Add(d))
	if err != nil {
		return nil, err
	}
	seq, err := t.nextSeq(h.agent())
	if err != nil {
		return nil, err
	}
	lease := newLease()
	h.rec.Handovers++
	h.rec.Seq, h.rec.LeaseId, h.rec.LeaseUntilMs, h.rec.LeasedAtMs = seq, lease[:], h.rec.DueMs, ms(t.now)
	h.rec.Boot, h.rec.Extends = t.j.birth.Boot, 0
	handed := &Handed{
		ID: h.id, Envelope: env, Seq: seq, Attempt: h.rec.Handovers, Lease: lease, Until: at(h.rec.LeaseUntilMs),
		Redelivered: h.rec.Redelivered || h.rec.Handovers > 1,
	}
	h.see(state.Deliver)
	handed.Status = state.Status(h.rec.HomeStatus)
	if err := t.saveHand(h); err != nil {
		return nil, err
	}
	return handed, t.tell(h, row.Tells, &wire.Report{Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Redelivered: handed.Redelivered})
}

// see keeps the holder's idea of home's status up with what it tells home.
func (h *hand) see(on state.Trigger) {
	for _, row := range state.Path(state.Status(h.rec.HomeStatus), on) {
		h.rec.HomeStatus = uint32(row.To)
	}
}

// newLease makes a lease id: random, so that no app can guess another's.
func newLease() ID {
	var id ID
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// Lease hands ready intents over. Each Handed has its own error: one that is
// no longer ready, or has run out of time, is left out of the app's answer.
func (j *Journal) Lease(ctx context.Context, ids []ID, d []time.Duration) ([]Handed, error) {
	out := make([]Handed, len(ids))
	ops := make([]*op, len(ids))
	for i, id := range ids {
		res := &out[i]
		ops[i] = &op{after: failpoint.HolderAfterLeaseCommit, run: func(t *tx) error {
			handed, err := t.leaseReady(id, d[i])
			if handed != nil {
				*res = *handed
			}
			return err
		}}
	}
	if err := j.do(ctx, first, ops...); err != nil && j.running() != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Err == nil && ops[i].err != nil {
			out[i] = Handed{ID: ids[i], Err: ops[i].err}
		}
	}
	return out, nil
}

func (t *tx) leaseReady(id ID, d time.Duration) (*Handed, error) {
	h, found, err := t.hand(id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, ErrNotFound
	}
	blob, found, err := t.getChunks(classEnvelope, id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: "the envelope of an open intent is missing"}
	}
	env := &wire.Envelope{}
	if err := proto.Unmarshal(blob, env); err != nil {
		return nil, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
	}
	handed, err := t.lease(h, env, d)
	if errors.Is(err, ErrExpired) {
		// Home will say so; until then it must not come up again and again.
		t.delIndex(dueKey(classMail, h.agent(), h.rec.DueMs, h.id))
		t.mailAt(h, never)
		return &Handed{ID: id, Err: ErrExpired}, t.saveHand(h)
	}
	return handed, err
}

// Mail returns up to max entries of the agent's mailbox whose time has come:
// ready ones may be leased, leased and working ones have lapsed. Like Due, it
// starts from a remembered place and may return an entry again.
func (j *Journal) Mail(a Agent, now time.Time, max int) (mail []Mail, next time.Time, err error) {
	if err := j.running(); err != nil {
		return nil, time.Time{}, err
	}
	c := j.indexes.cursor(agentPrefix(classMail, a))
	next = c.scan(j.db, now, func(txn *badger.Txn, due time.Time, id ID) bool {
		if len(mail) >= max {
			return false
		}
		m, ok, rerr := readMail(txn, id)
		if rerr != nil {
			err = rerr
			return false
		}
		if ok && m.Due.Equal(due) {
			mail = append(mail, m)
		}
		return true
	})
	return mail, next, err
}

func readMail(txn *badger.Txn, id ID) (Mail, bool, error) {
	var rec wire.Handover
	found, err := readMessage(txn, idKey(classHandover, id), &rec)
	if err != nil || !found || !state.Phase(rec.Phase).Open() {
		return Mail{}, false, err
	}
	return Mail{
		ID: id, Home: ID(rec.Home), OfferNo: rec.OfferNo, Phase: state.Phase(rec.Phase), Due: time.UnixMilli(rec.DueMs),
		Held: at(rec.HeldMs), Attempts: rec.Attempts, Receiver: rec.ReceiverDurability, Lease: leaseOf(&rec), Counted: !rec.Freed,
	}, true, nil
}

// MailAll returns up to max open entries of the agent's mailbox, whatever
// their time, the soonest first.
func (j *Journal) MailAll(a Agent, max int) (mail []Mail, err error) {
	err = j.view(func(txn *badger.Txn) error {
		return eachMail(txn, agentPrefix(classMail, a), func(m Mail, _ *wire.Handover) bool {
			mail = append(mail, m)
			return len(mail) < max
		})
	})
	return mail, err
}

func eachMail(txn *badger.Txn, prefix []byte, visit func(Mail, *wire.Handover) bool) error {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	opts.Prefix = prefix
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Seek(prefix); it.Valid(); it.Next() {
		_, id := splitDue(it.Item().Key())
		var rec wire.Handover
		found, err := readMessage(txn, idKey(classHandover, id), &rec)
		if err != nil {
			return err
		}
		m, ok, err := readMail(txn, id)
		if err != nil {
			return err
		}
		if found && ok && !visit(m, &rec) {
			return nil
		}
	}
	return nil
}

// Holding lists what we have from a home: what is open, and what is settled
// here but not yet acked there, so that home offers neither to anybody else.
func (j *Journal) Holding(home ID) (out []Holding, err error) {
	err = j.view(func(txn *badger.Txn) error {
		err := eachMail(txn, []byte{classMail}, func(m Mail, rec *wire.Handover) bool {
			if m.Home == home {
				out = append(out, Holding{ID: m.ID, OfferNo: m.OfferNo, Phase: m.Phase, HomeEpoch: rec.HomeEpoch})
			}
			return true
		})
		if err != nil {
			return err
		}
		var settled []ID
		err = eachRecord(txn, idKey(classReport, home), func() *wire.Report { return &wire.Report{} }, func(_ []byte, r *wire.Report) {
			if f := state.Fact(r.Fact); f == state.FactAnswered || f == state.FactRejected {
				settled = append(settled, ID(r.Id))
			}
		})
		if err != nil {
			return err
		}
		for _, id := range settled {
			var rec wire.Handover
			found, err := readMessage(txn, idKey(classHandover, id), &rec)
			if err != nil {
				return err
			}
			if found && state.Phase(rec.Phase).Settled() {
				out = append(out, Holding{ID: id, OfferNo: rec.OfferNo, Phase: state.Phase(rec.Phase), HomeEpoch: rec.HomeEpoch})
			}
		}
		return nil
	})
	return out, err
}
