package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"pannier/journal/wire"
)

// A start with AcceptLoss goes on without what is gone. Files that the store cannot bear
// are left out of it (leaveout.go). Then all there is is verified, and what does not hold is
// made to: entries of indexes follow the records, one of home's that was open, and of which
// at least what was sent is left, ends as a dead letter (standin.go), and what is left of any
// other that cannot be read is removed, so that whoever sends or offers it again is heard. It
// begins a new epoch, in the commit before any of that. Where it is cut short nothing tells what
// has not been looked for yet: the files that are left are whole. So a file says that it has
// begun, and what it has found (lossnote.go).

// loss is what such a start has found gone, with those before it that were cut short.
type loss struct {
	asked     bool // Options.AcceptLoss
	again     bool // one was cut short: what has only been counted may have been counted twice
	batches   uint64
	leaving   []string // files, while they are left out
	files     []string
	entries   []string      // what indexes lack
	forgotten map[ID]string // intents of which too little was left, and why
	unnamed   int           // more of them
	removed   int           // records and entries that no intent goes with
	mended    int           // entries of indexes

	unfit map[ID]string // those of home's that are open and cannot go on, and why
	order []ID          // of them, a whole before its parts
}

// cutShort is what a journal that has the file is damaged by; nil where it has none.
func cutShort(dir string) error {
	var l loss
	if there, err := l.read(dir); err != nil || !there {
		return err
	}
	what := fmt.Sprintf("a start of the journal in %s with --accept-loss was cut short: what is gone has not all been looked for", dir)
	if text := l.String(); text != "" {
		what += "; up to then: " + text
	}
	return &DamageError{What: what, Hint: "start once more with --accept-loss, or restore a backup"}
}

func (l *loss) cannotGoOn(id ID, why string) (news bool) {
	if _, known := l.unfit[id]; known {
		return false
	}
	l.unfit[id], l.order = why, append(l.order, id)
	return true
}

// wholesFirst has those of which others are parts end before them: the end of a part would
// end them in its way, as if somebody had refused what nobody has seen.
func (l *loss) wholesFirst(of map[ID]ID) {
	var order []ID
	seen := map[ID]bool{}
	var add func(ID)
	add = func(id ID) {
		if seen[id] {
			return
		}
		seen[id] = true
		if whole, ok := of[id]; ok {
			add(whole)
		}
		order = append(order, id)
	}
	for _, id := range l.order {
		add(id)
	}
	l.order = order
}

// String is one sentence, or empty where nothing is gone.
func (l *loss) String() string {
	var all []string
	if len(l.files) > 0 {
		all = append(all, fmt.Sprintf("left out and kept in %s: %s", lostDir, strings.Join(l.files, ", ")))
	}
	if len(l.leaving) > 0 {
		all = append(all, fmt.Sprintf("left out or made anew by a start that was cut short, and kept in %s: %s", lostDir, strings.Join(l.leaving, ", ")))
	}
	all = append(all, l.entries...)
	upTo := func(counted int) string {
		if l.again && counted > 0 {
			return "up to "
		}
		return ""
	}
	for _, c := range []struct {
		about string
		n     uint64
		what  string
	}{
		{"", l.batches, "batches or more that were acknowledged are gone"}, // the mark may be a second old
		{upTo(l.unnamed), uint64(len(l.forgotten) + l.unnamed), "intents could not be read, and what was left of them was removed"},
		{"", uint64(len(l.unfit)), "intents could not go on, and end as dead letters"},
		{upTo(l.removed), uint64(l.removed), "records of nothing were removed"},
		{upTo(l.mended), uint64(l.mended), "entries of indexes were mended"},
	} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%s%d %s", c.about, c.n, c.what))
		}
	}
	return strings.Join(all, "; ")
}

// epochSkip is how many numbers of batches and of hand-overs a new epoch passes over: what
// an older copy does not know of was given some that nobody is to get again.
const epochSkip = 1 << 28

// beginEpoch has others count from the start, and numbers go on where the last journal was:
// what they remember of us may be newer than what we do.
func (j *Journal) beginEpoch(last *mark) {
	if last != nil { // the store may be a copy of before the last epoch began
		j.birth.Epoch = max(j.birth.Epoch, last.Epoch)
	}
	j.birth.Epoch++
	if last != nil && last.Seq > j.seq {
		j.loss.batches = max(j.loss.batches, last.Seq-j.seq)
		j.seq = last.Seq
	}
	j.seq += epochSkip
}

// openWithout leaves bad files out of the store, where that was asked for, and makes those anew of
// which nothing is lost.
func (j *Journal) openWithout(bad []badFile) error {
	if j.loss.asked && !refuses(together(bad)) { // what may not be read just now is not lost
		j.space.forAnew(j.store)
		j.loss.leave(bad)
		if err := j.loss.note(j.dir); err != nil {
			return err
		}
		said, err := leaveOut(j.store, filepath.Join(j.dir, lostDir), bad)
		if err != nil {
			return err
		}
		j.loss.left(said)
		return j.loss.note(j.dir)
	}
	if !j.loss.asked {
		if anew := remakeSpent(j.store, bad); len(anew) > 0 {
			j.space.forAnew(j.store)
			if err := putRemade(j.store, anew); err != nil {
				return &DamageError{What: fmt.Sprintf("the journal in %s cannot be opened: %s", j.dir, oneLine(err)), Hint: remedy(err) + ", and start again"}
			}
			j.warn(fmt.Sprintf("made anew, and nothing is lost: %v; what is wrong there has been written again since, or was set aside before", together(bad)))
			return nil
		}
		if wrong := withoutSystem(bad); len(wrong) > 0 {
			bad = wrong
		}
	}
	return lossy(j.dir, together(bad))
}

// lackedRoom says what to do where a start that accepts a loss has found no room for what it makes
// anew. What can be read is there as before, and what was written half is gone again.
func (j *Journal) lackedRoom(err error) error {
	if !j.loss.asked || !saysOne(err, noRoomLeft) {
		return err
	}
	if system := (*SystemError)(nil); errors.As(err, &system) {
		err = system.Err // which may be known to be damaged
	}
	return fmt.Errorf("there is no room on the volume of the journal in %s to go on with what is left of it: %s; %s; make room, and start once more with --accept-loss", j.dir, oneLine(err), j.space.left())
}

// withoutSystem are the files that were read and are wrong.
func withoutSystem(bad []badFile) []badFile {
	return slices.DeleteFunc(slices.Clone(bad), func(b badFile) bool { return bySystem(b.why) })
}

// readMeta reads how far the journal had come. Where loss is accepted nobody has to know.
func (j *Journal) readMeta(txn *page) (*wire.Meta, error) {
	meta := &wire.Meta{}
	if _, err := readMessage(txn, metaKey, meta); err != nil {
		if !j.loss.asked {
			return nil, err
		}
		return &wire.Meta{}, nil
	}
	return meta, nil
}

// readBirth reads who the journal is; nil: nobody yet. The mark knows, too.
func (j *Journal) readBirth(txn *page, last *mark) (*wire.Birth, error) {
	birth := &wire.Birth{}
	found, err := readMessage(txn, birthKey, birth)
	switch {
	case found && err == nil:
		return birth, nil
	case !j.loss.asked || last == nil:
		return nil, err
	}
	id, err := ParseID(last.Journal)
	if err != nil {
		return nil, err
	}
	j.loss.addEntries("who it is was taken from " + markName)
	// Each start makes a batch: there were no more starts than batches.
	return &wire.Birth{Schema: schemaPlain, Id: id[:], Epoch: last.Epoch, Boot: uint32(last.Seq), BroughtTo: schemaPlain}, nil
}
