package journal_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pannier/journal"
)

var (
	flipSeed = flag.Uint64("flip.seed", 1, "of TestFlips")
	flips    = flag.Int("flip.n", 100, "wrong bytes of TestFlips; it is one start each")
)

// A wrong bit, or two wrong bytes, in any file of a journal is found out at the start, or
// when the record is read, or does no harm: what was accepted is never quietly gone.
func TestFlips(t *testing.T) {
	t.Parallel()
	stopped, killed, accepted := flipped(t)
	r := rand.New(rand.NewPCG(*flipSeed, 11))
	var found, later, harmless int
	by := map[string]int{}
	for n := range *flips {
		from, ids := stopped, accepted
		if n%4 == 3 {
			from = killed // opened twice, where it is
		}
		dir := t.TempDir()
		if err := journal.CopyStopped(from, dir); err != nil {
			t.Fatal(err)
		}
		name, where := flip(t, r, dir)
		by[filepath.Base(name)]++
		j, err := journal.Open(journal.Options{Dir: dir})
		if err != nil {
			var damage *journal.DamageError
			if !errors.As(err, &damage) {
				t.Errorf("flip %d, %s at %s: %v, want a DamageError", n, name, where, err)
			}
			found++
			continue
		}
		corrupt := 0
		for _, id := range ids {
			switch i, err := j.Get(id); {
			case err == nil && i.Envelope != nil && bytes.Equal(i.Envelope.Payload, envelope().Payload):
			case errors.As(err, new(*journal.CorruptError)):
				corrupt++
			default:
				t.Errorf("flip %d, %s at %s: %s is quietly gone: %v", n, name, where, id, err)
			}
		}
		if corrupt > 0 {
			later++
		} else {
			harmless++
		}
		j.Close()
	}
	if found == 0 {
		t.Error("no flip was found")
	}
	t.Logf("figure: of %d flips %d were found at the start, %d when read, %d did no harm; by file %v", *flips, found, later, harmless, by)
}

// What Badger would take for the end of a file, or end the process at, is refused before it
// sees it.
func TestFilesAreChecked(t *testing.T) {
	t.Parallel()
	stopped, killed, _ := flipped(t)
	for _, c := range []struct {
		fault  string
		from   string
		file   string
		change func(b []byte) []byte // nil: the file goes
		words  string
	}{
		{"a table's footer is zero", stopped, "store/000001.sst", func(b []byte) []byte { clear(b[len(b)-8:]); return b }, "table 000001.sst: "},
		{"a table is cut short", stopped, "store/000001.sst", func(b []byte) []byte { return b[:len(b)/2] }, "table 000001.sst: "},
		{"a block has more entries than it can", stopped, "store/000001.sst", func(b []byte) []byte { b[100] ^= 1; return b }, "the checksum of block 0 is wrong"},
		{"a table is gone", stopped, "store/000001.sst", nil, "no such file"},
		{"a length in MANIFEST", stopped, "store/MANIFEST", func(b []byte) []byte { b[8+3]++; return b }, "MANIFEST is wrong"},
		{"MANIFEST is gone", stopped, "store/MANIFEST", nil, "MANIFEST is gone"},
		{"a log", killed, "store/00001.mem", func(b []byte) []byte { b[500] ^= 1; return b }, "log 00001.mem: "},
		{"the mark", stopped, "journal.hwm", func(b []byte) []byte { return bytes.Replace(b, []byte(`"seq":`), []byte(`"seq":1`), 1) }, "cannot be read"},
	} {
		dir := t.TempDir()
		if err := journal.CopyStopped(c.from, dir); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.change == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, c.change(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		(&world{T: t, dir: dir}).wantDamage(c.words)
		if r, err := journal.Verify(dir); err == nil && len(r.Damages) == 0 {
			t.Errorf("%s: verify finds nothing", c.fault)
		}
	}
}

// flipped is a small journal as it is after a stop, and as a kill leaves it: with tables, and
// with a log.
func flipped(t *testing.T) (stopped, killed string, ids []journal.ID) {
	t.Helper()
	w := setup(t)
	for range 12 {
		ids = append(ids, w.accept())
	}
	h := w.hand1(ids[0])
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	w.reopen()
	for range 12 {
		ids = append(ids, w.accept())
	}
	killed = t.TempDir()
	if err := journal.CopyStopped(w.dir, killed); err != nil {
		t.Fatal(err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	return w.dir, killed, ids
}

// hand1 hands one of several intents to our own app.
func (w *world) hand1(id journal.ID) journal.Handed {
	w.Helper()
	for _, o := range w.due() {
		if o.ID != id {
			continue
		}
		res, err := w.j.HoldLocal(w.Context(), []journal.Offer{o}, []journal.Terms{{For: time.Minute}})
		if err != nil || res[0].Err != nil || res[0].Handed == nil {
			w.Fatalf("hold: %v, %+v", err, res)
		}
		return *res[0].Handed
	}
	w.Fatalf("%s is not due", id)
	return journal.Handed{}
}

// flip makes a bit or two bytes wrong in one of the files of a journal, where there is
// anything in it.
func flip(t *testing.T, r *rand.Rand, dir string) (name, where string) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"journal.*", "store/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			// Of the file of the owner, see TestOwnerFile: whoever finds another name waits.
			if name := filepath.Base(f); name != "LOCK" && name != journal.OwnerName {
				files = append(files, f)
			}
		}
	}
	path := files[r.IntN(len(files))]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := max(64, len(bytes.TrimRight(b, "\x00")))
	at := r.IntN(min(used, len(b)))
	if r.IntN(2) == 0 {
		bit := r.IntN(8)
		b[at] ^= 1 << bit
		where = fmt.Sprintf("bit %d of byte %d of %d", bit, at, used)
	} else {
		for i := at; i < min(at+2, len(b)); i++ {
			b[i] ^= byte(1 + r.IntN(255))
		}
		where = fmt.Sprintf("bytes %d and the next of %d", at, used)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b[at:min(at+2, len(b))], int64(at)); err != nil {
		t.Fatal(err)
	}
	return path, where
}
