package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pannier/journal/wire"
)

// A start with AcceptLoss goes on without what is gone. Files that the store cannot bear
// are left out of it (leaveout.go). Then all there is is verified, and what does not hold is
// made to: entries of indexes follow the records, one of home's that was open, and of which
// at least what was sent is left, ends as a dead letter (standin.go), and what is left of any
// other that cannot be read is removed, so that whoever sends or offers it again is heard. It begins a new epoch, in the commit
// before any of that. Where it is cut short nothing tells what has not been looked for yet: the
// files that are left are whole. So a file says that it has begun, from before the first change
// until all is done, and no other start goes on while it is there.

// loss is what such a start has found gone.
type loss struct {
	asked     bool // Options.AcceptLoss
	batches   uint64
	files     []string
	entries   []string // what indexes lack
	forgotten int      // intents of which too little was left
	removed   int      // records and entries that no intent goes with
	mended    int      // entries of indexes

	unfit map[ID]string // those of home's that are open and cannot go on, and why
	order []ID          // of them, a whole before its parts
}

// lossName is the file that says that such a start has begun.
const lossName = "journal.loss"

const lossText = "A start with --accept-loss has begun here and has not come to its end. Start with it once more.\n"

// cutShort is what a journal that has the file is damaged by; nil where it has none.
func cutShort(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, lossName))
	switch {
	case err == nil:
		return &DamageError{
			What: fmt.Sprintf("a start of the journal in %s with --accept-loss was cut short: what is gone has not all been looked for", dir),
			Hint: "start once more with --accept-loss, or restore a backup",
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// begin makes the file durable.
func (l *loss) begin(dir string) error { return replaceFile(dir, lossName, []byte(lossText)) }

// end takes it away.
func (l *loss) end(dir string) error {
	if err := os.Remove(filepath.Join(dir, lossName)); err != nil {
		return err
	}
	return syncDir(dir)
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
	all = append(all, l.entries...)
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{l.batches, "batches or more that were acknowledged are gone"}, // the mark may be a second old,
		{uint64(l.forgotten), "intents could not be read, and what was left of them was removed"},
		{uint64(len(l.unfit)), "intents could not go on, and end as dead letters"},
		{uint64(l.removed), "records of nothing were removed"},
		{uint64(l.mended), "entries of indexes were mended"},
	} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", c.n, c.what))
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
		j.loss.batches = last.Seq - j.seq
		j.seq = last.Seq
	}
	j.seq += epochSkip
}

// openWithout leaves bad files out of the store, where that was asked for.
func (j *Journal) openWithout(bad []badFile) error {
	if j.loss.asked && !refuses(together(bad)) { // what may not be read just now is not lost
		if err := j.loss.begin(j.dir); err != nil {
			return err
		}
		said, err := leaveOut(j.store, filepath.Join(j.dir, lostDir), bad)
		j.loss.files = append(j.loss.files, said...)
		return err
	}
	if wrong := withoutSystem(bad); len(wrong) > 0 && !j.loss.asked {
		bad = wrong
	}
	return lossy(j.dir, together(bad))
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
	j.loss.entries = append(j.loss.entries, "who it is was taken from "+markName)
	// Each start makes a batch: there were no more starts than batches.
	return &wire.Birth{Schema: schemaPlain, Id: id[:], Epoch: last.Epoch, Boot: uint32(last.Seq), BroughtTo: schemaPlain}, nil
}
