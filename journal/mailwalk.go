package journal

import (
	"bytes"
	"maps"
	"slices"
	"sync"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// walks are those under way over mailboxes, a page at a time.
type walks struct {
	mu struct {
		sync.Mutex
		all map[*walk]struct{}
	}
}

// walk is one of them. An entry of a mailbox is where it is by the time it is due, so one
// may move from before the walk to behind it: those that commits have moved since it began
// are noted. They are no more than what is held and what comes meanwhile.
type walk struct {
	prefix  []byte
	visit   func(Mail, *wire.Handover) bool
	stopped bool
	moved   map[ID]struct{} // held by walks.mu
}

func newWalks() *walks {
	w := &walks{}
	w.mu.all = map[*walk]struct{}{}
	return w
}

// note is told of a batch before anybody can see it: whose entry a page does not see any
// more is noted by then.
func (w *walks) note(writes map[string]write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.mu.all) == 0 {
		return
	}
	for _, put := range writes {
		if put.key[0] != classMail || put.del {
			continue
		}
		_, id := splitDue(put.key)
		for under := range w.mu.all {
			under.moved[id] = struct{}{}
		}
	}
}

// begin is called while no batch is being written: one that was not noted is seen by the
// first page.
func (w *walks) begin(prefix []byte, visit func(Mail, *wire.Handover) bool) *walk {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun := &walk{prefix: prefix, visit: visit, moved: map[ID]struct{}{}}
	w.mu.all[begun] = struct{}{}
	return begun
}

// end returns what has moved.
func (w *walks) end(ended *walk) []ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.mu.all, ended)
	return slices.Collect(maps.Keys(ended.moved))
}

// eachMail visits the open entries of the mailboxes below prefix, the soonest of each
// first, until visit says no. It reads page by page: what is open all the while is visited,
// and what comes or ends meanwhile may be. What has moved meanwhile comes in the end, some
// of it again, as it is then.
func (j *Journal) eachMail(prefix []byte, visit func(Mail, *wire.Handover) bool) error {
	j.unsynced.RLock()
	w := j.walks.begin(prefix, visit)
	j.unsynced.RUnlock()
	defer j.walks.end(w)

	err := j.eachKey(prefix, func(txn *page, key []byte) (more bool, err error) {
		_, id := splitDue(key)
		return w.read(txn, id)
	})
	if err != nil || w.stopped {
		return err
	}
	moved := j.walks.end(w)
	return j.views(func(txn *page) (more bool, err error) {
		for more = true; more && len(moved) > 0; moved = moved[1:] {
			if txn.full() {
				return true, nil
			}
			if more, err = w.read(txn, moved[0]); err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

// read visits the hand-over of an id, if it is open and in one of the mailboxes; more is
// whether visit wants others.
func (w *walk) read(txn *page, id ID) (more bool, err error) {
	var rec wire.Handover
	found, err := readMessage(txn, idKey(classHandover, id), &rec)
	switch {
	case isFault(err):
		return true, nil // the scrub comes by; the others are no less here
	case err != nil:
		return false, err
	case !found || !state.Phase(rec.Phase).Open() || !bytes.HasPrefix(agentPrefix(classMail, Agent(rec.Agent)), w.prefix):
		return true, nil
	}
	w.stopped = !w.visit(mailOf(id, &rec), &rec)
	return !w.stopped, nil
}

// MailAll returns the open entries of the agent's mailbox, whatever their time: the soonest
// first, but for what moves while it reads. There are at most as many as an agent may have
// open.
func (j *Journal) MailAll(a Agent) (mail []Mail, err error) {
	place := map[ID]int{}
	err = j.eachMail(agentPrefix(classMail, a), func(m Mail, _ *wire.Handover) bool {
		if i, again := place[m.ID]; again {
			mail[i] = m
			return true
		}
		place[m.ID] = len(mail)
		mail = append(mail, m)
		return true
	})
	return mail, err
}
