package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// VerifyReport says what Verify has found in a stopped journal.
type VerifyReport struct {
	Intents int      // homed or held
	Live    int      // not ended
	Damages []Damage // none: the journal is whole; at most 1,000

	all    bool // of them, however many
	marked bool // it has a high-water mark
}

// Verify reads all of a journal that no process has open: every record
// decodes, every live intent is in exactly one index and every index entry has
// its intent, events have no gap, a dead letter and its successor know of each
// other, threads, tasks, plans and schedules agree with the intents they are of,
// the fingerprint holds. A table or log that is damaged is named, and the rest is read
// without it: what it held is then among what is missing. It reads a copy of what the
// store would change by opening it, so nothing in the directory changes. The error is for a journal that
// is not there, or in use, and a *SystemError for one that the system keeps from us: what cannot be
// read for want of a file or of permission is no damage.
func Verify(dir string) (r VerifyReport, err error) {
	if err := partOfAnother(dir); err != nil {
		return r, err
	}
	fresh, err := isFresh(storeDir(dir))
	if err != nil {
		return r, verifyError(dir, err)
	}
	if fresh && !isFile(filepath.Join(dir, markName)) {
		return r, fmt.Errorf("there is no journal in %s", dir)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return r, verifyError(dir, err)
	}
	defer lock.Close()
	if fresh {
		r.whole(DamagedFile, "the store is gone: %s tells that there was one", markName)
		return r, nil
	}
	if _, err := readOwner(dir); err != nil { // which a start would refuse
		if bySystem(err) {
			return r, verifyError(dir, err)
		}
		r.whole(SpareFile, "%v", err)
	}
	if err := newOpenFiles().mayOpen(storeDir(dir)); err != nil { // the store would call it damage, or wait for ever
		return r, verifyError(dir, err)
	}
	copied, remove, err := copyToLook(storeDir(dir))
	if err != nil {
		return r, verifyError(dir, err)
	}
	defer remove()
	last, err := readMark(dir)
	if err != nil && refuses(err) {
		return r, verifyError(dir, err)
	}
	if err != nil {
		kind := DamagedFile
		if errors.Is(err, unix.EISDIR) {
			kind = MarkGone
		}
		r.whole(kind, "%v", err)
	}
	r.marked = last != nil || err != nil
	if err := cutShort(dir); err != nil {
		r.whole(LostBatches, "%v", err)
	}
	if err := r.look(copied, last); err != nil {
		return r, verifyError(dir, err)
	}
	for i := range r.Damages { // the copy is nobody's affair
		r.Damages[i].What = strings.ReplaceAll(r.Damages[i].What, copied, storeDir(dir))
	}
	return r, nil
}

// look verifies a store that may be changed. The error is one of the system, where nothing is known
// to be damaged.
func (r *VerifyReport) look(store string, last *mark) error {
	defer func() {
		if p := recover(); p != nil { // the store panics on some damage
			r.whole(DamagedFile, "the store cannot be read: %v", p)
		}
	}()
	log := tripwire{warning: func(string) {}, fail: func(e error) {
		if !refuses(e) { // what could not be written is in the logs still, and is read there
			r.whole(DamagedFile, "%v", e)
		}
	}}
	if err := sweepTorn(store); err != nil {
		r.whole(DamagedFile, "%v", err)
		return nil
	}
	bad, _ := checkFiles(store)
	if err := r.goWithout(store, bad); err != nil {
		r.whole(DamagedFile, "%v", err)
		return nil
	}
	if err := hasRoomFor(room{tablesOfLogs(store), storeMakes}, store); err != nil { // what was made anew has taken some
		return r.unread(err)
	}
	db, err := badger.Open(lookOptions(store, log))
	if err != nil {
		return r.unread(fmt.Errorf("the store cannot be opened: %w", err))
	}
	defer db.Close()
	if err := db.VerifyChecksum(); err != nil {
		r.whole(DamagedFile, "a table is damaged: %v", err)
	}
	_ = viewAlone(db, func(txn *page) error {
		r.read(db, txn, last)
		return nil
	})
	return nil
}

// unread returns why a store could not be read, where the system has kept it from us and nothing is
// known to be damaged; else that is one more damage.
func (r *VerifyReport) unread(why error) error {
	if refuses(why) && !slices.ContainsFunc(r.Damages, func(d Damage) bool { return d.Kind != SpentRecords }) {
		return why
	}
	r.whole(DamagedFile, "%v", why)
	return nil
}

// goWithout names files that are damaged, and makes the store one without them: what was in
// them is then found missing. Those of which nothing is lost are made anew, as a start does.
func (r *VerifyReport) goWithout(store string, bad []badFile) error {
	anew := remakeSpent(store, bad)
	for _, b := range bad {
		kind := DamagedFile
		switch {
		case len(anew) > 0:
			kind = SpentRecords
		case b.kind == spareFile:
			kind = SpareFile
		}
		r.whole(kind, "%v", b)
	}
	if len(anew) > 0 {
		return putRemade(store, anew)
	}
	_, err := leaveOut(store, "", bad)
	return err
}

// read verifies all that a snapshot has, which is all that there is: nobody writes.
func (r *VerifyReport) read(db *badger.DB, txn *page, last *mark) {
	v := verifier{db: db, txn: txn, report: r}
	v.records()
	v.mark(last)
	v.birth()
	v.addresses()
	v.heads()
	v.handovers()
	v.bodies()
	v.threads()
	v.indexes()
	v.ended()
	v.reports()
	v.keys()
	v.others()
}

type verifier struct {
	db     *badger.DB
	txn    *page
	report *VerifyReport
	laid   bool           // every dead letter is in their index
	letGo  time.Time      // what ended up to then may be gone
	self   ID             // of this journal
	lanes  map[Agent]bool // addresses by number: whether it is a lane of threads
}

// records decodes everything there is. What is found here is said here alone: the checks
// that follow pass over what cannot be read.
func (v *verifier) records() {
	it := v.txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		c, known := keyClasses[key[0]]
		err := it.Item().Value(func(rec []byte) error {
			switch {
			case !known:
				return errors.New("no such class of keys")
			case key[0] == classMeta:
				return nil // read by name
			case c.chunks:
				_, _, err := unseal(key, rec)
				return err
			case c.record != nil:
				return unsealMessage(key, rec, c.record())
			case len(rec) > 0:
				return errors.New("an entry of an index has a value")
			}
			return nil
		})
		if err != nil {
			v.report.at(key, DamagedRecord, "%s", why(err))
		}
	}
}

// why is what is wrong with a record, without its key.
func why(err error) string {
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		return corrupt.Why
	}
	return err.Error()
}

// get reads a record; ok is false where there is none that can be read, and missing where
// there is none at all.
func (v *verifier) get(key []byte, m proto.Message) (ok, missing bool) {
	found, err := readMessage(v.txn, key, m)
	return found && err == nil, !found && err == nil
}

// eachWhole visits the records of a class that can be read.
func eachWhole[M proto.Message](txn *page, class byte, empty func() M, visit func(key []byte, m M)) {
	opts := badger.DefaultIteratorOptions
	opts.Prefix = []byte{class}
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key, m := it.Item().KeyCopy(nil), empty()
		if it.Item().Value(func(rec []byte) error { return unsealMessage(key, rec, m) }) == nil {
			visit(key, m)
		}
	}
}

// keysOf visits the keys of a class.
func keysOf(txn *page, class byte, visit func(key []byte)) {
	opts := badger.DefaultIteratorOptions
	opts.Prefix, opts.PrefetchValues = []byte{class}, false
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		visit(it.Item().KeyCopy(nil))
	}
}

func (v *verifier) birth() {
	var b wire.Birth
	if _, err := readMessage(v.txn, birthKey, &b); err != nil {
		v.report.at(birthKey, DamagedRecord, "%s", why(err))
	}
	v.laid = b.BroughtTo >= schemaPlain // else the next start sees to it
	v.self, _ = IDOf(b.Id)              // there is none before the first commit
}

func (v *verifier) mark(last *mark) {
	var meta wire.Meta
	if _, err := readMessage(v.txn, metaKey, &meta); err != nil {
		v.report.at(metaKey, DamagedRecord, "%s", why(err))
		return
	}
	v.letGo = at(meta.LetGoMs)
	if !v.report.marked && meta.Seq > 1 {
		v.report.whole(MarkGone, "%s is gone: whether all that was acknowledged is there nobody can tell", markName)
	}
	if last != nil && meta.Seq < last.Seq {
		v.report.whole(LostBatches, "%d batches are there, at least %d were acknowledged", meta.Seq, last.Seq)
	}
	if last != nil && !last.isOf(meta.Seq, decodeSums(meta.Sums)) {
		v.report.whole(LostBatches, "batch %d is there with another live set than was acknowledged", meta.Seq)
	}
	if meta.Seq == 0 {
		return // killed before the first commit
	}
	is := scanLive(v.db)
	for _, diff := range decodeSums(meta.Sums).differences(&is.sums) {
		v.report.whole(WrongCount, "%s", diff)
	}
}
