package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/pb"
	"golang.org/x/sys/unix"

	"pannier/journal"
)

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
		{"a table of three bytes", stopped, "store/000001.sst", func(b []byte) []byte { return b[:3] }, "footer: too short for a checksum"},
		{"a table of nothing but the length of its checksum", stopped, "store/000001.sst", func([]byte) []byte { return make([]byte, 4) }, "it has no index"},
		{"a table whose index is longer than it", stopped, "store/000001.sst", func([]byte) []byte { return []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0} }, "its index is longer than the table"},
		{"an index with a checksum of another kind", stopped, "store/000001.sst", otherKindOfSum, "the checksum of its index is wrong"},
		{"a table is gone", stopped, "store/000001.sst", nil, "no such file"},
		{"a length in MANIFEST", stopped, "store/MANIFEST", func(b []byte) []byte { b[8+3]++; return b }, "MANIFEST is wrong"},
		{"a length in MANIFEST beyond its end, of nothing", stopped, "store/MANIFEST", func(b []byte) []byte { b[8+3] ^= 32; return b }, "the length of a record in MANIFEST is wrong"},
		{"a length in MANIFEST beyond its end", stopped, "store/MANIFEST", func(b []byte) []byte { b[16+3] ^= 32; return b }, "the length of a record in MANIFEST is wrong"},
		{"MANIFEST is gone", stopped, "store/MANIFEST", nil, "MANIFEST is gone"},
		{"a MANIFEST that does not begin as one", stopped, "store/MANIFEST", func(b []byte) []byte { b[7]++; return b }, "MANIFEST does not begin as one"},
		{"MANIFEST is empty", stopped, "store/MANIFEST", func([]byte) []byte { return nil }, "MANIFEST does not begin as one"},
		{"a log", killed, "store/00001.mem", func(b []byte) []byte { b[500] ^= 1; return b }, "log 00001.mem: "},
		{"the mark", stopped, "journal.hwm", func(b []byte) []byte { return bytes.Replace(b, []byte(`"epoch":`), []byte(`"epoch":1`), 1) }, "cannot be read"},
		{"the mark, of a later program", stopped, "journal.hwm", func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) }, "cannot be read"},
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

// otherKindOfSum says of the checksum of a table's index that it is of a kind that Badger panics at.
func otherKindOfSum(b []byte) []byte {
	size := int(binary.BigEndian.Uint32(b[len(b)-4:]))
	sum := b[len(b)-4-size : len(b)-4]
	other := append([]byte{1 << 3, byte(pb.Checksum_XXHash64)}, sum...) // of field 1
	return slices.Concat(b[:len(b)-4-size], other, binary.BigEndian.AppendUint32(nil, uint32(len(other))))
}

// Without its mark a journal goes on, and whoever looks hears that something cannot be told; with
// one that cannot be read it does so where loss is accepted.
func TestStartWithoutAMark(t *testing.T) {
	t.Parallel()
	stopped, _, _ := flipped(t)
	for _, c := range []struct{ mark, verify, start string }{
		{"", "journal.hwm is gone", "journal.hwm is gone"},
		{"{}", "cannot be read", ""},
	} {
		w := &world{T: t, dir: t.TempDir()}
		if err := journal.CopyStopped(stopped, w.dir); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(w.dir, "journal.hwm")
		err := os.Remove(path)
		if c.mark != "" {
			err = os.WriteFile(path, []byte(c.mark), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) != 1 || !strings.Contains(r.Damages[0].What, c.verify) || (r.Damages[0].Kind == journal.MarkGone) != (c.mark == "") {
			t.Errorf("verify with a mark of %q: %+v, %v; want one damage, %q", c.mark, r.Damages, err, c.verify)
		}
		if c.start == "" {
			w.wantDamage("start once with --accept-loss")
			w.goOn()
			if said := w.j.Stats().Loss; !strings.Contains(said, c.verify) {
				t.Errorf("said to be lost: %q", said)
			}
		} else {
			var warned []string
			w.open(journal.Options{Hooks: journal.Hooks{Warning: func(line string) { warned = append(warned, line) }}})
			if !strings.Contains(strings.Join(warned, "\n"), c.start) {
				t.Errorf("warnings: %v; want %q", warned, c.start)
			}
		}
		w.holds()
	}
}

// What a crash leaves of MANIFEST, and what an earlier program wrote into the mark, is no damage.
func TestFilesThatAreWhole(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	for file, change := range map[string]func(b []byte) []byte{
		"store/MANIFEST": func(b []byte) []byte { return append(b, 0, 0, 0, 30, 1, 2, 3, 4, 10, 11, 12) }, // cut short in a record
		"journal.hwm":    func(b []byte) []byte { return regexp.MustCompile(`"sum":"[^"]*",`).ReplaceAll(b, nil) },
	} {
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(w.dir, file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := change(bytes.Clone(b))
		if bytes.Equal(changed, b) {
			t.Fatalf("%s is as it was:\n%s", file, b)
		}
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		w.open(journal.Options{})
		w.status(id)
	}
	w.whole()
}

// A table that Badger panics over, though its checksums are right, is damage after a kill, too, and
// does not end the start.
func TestTableThatTheStorePanicsOver(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.acceptMany(10, strings.Repeat("x", 64<<10))
	w.j.Abandon()
	if err := journal.SpoilBlock(filepath.Join(w.dir, "store", "000001.sst")); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("slice bounds out of range")
	if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) == 0 {
		t.Errorf("verify: %v, %q", err, r.Damages)
	}
}

// All tables are read, side by side, and each that is damaged is named, and no other.
func TestTablesAreCheckedSideBySide(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for range 2 { // three tables: four are compacted
		w.accept()
		w.reopen()
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(w.dir, "store", "*.sst"))
	if err != nil || len(tables) < 3 {
		t.Fatal(tables, err)
	}
	for _, path := range tables[:2] {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[10] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = journal.Open(journal.Options{Dir: w.dir})
	for n, path := range tables {
		if named := strings.Contains(fmt.Sprint(err), "table "+filepath.Base(path)+": "); named != (n < 2) {
			t.Errorf("%s is named: %t: %v", filepath.Base(path), named, err)
		}
	}
}

// failingAt fails one of its reads. What is in the buffer then is anything, what is right included:
// that of the block before.
type failingAt struct {
	*bytes.Reader
	left int
}

func (f *failingAt) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.Reader.ReadAt(b, off)
	if f.left--; f.left == 0 {
		err = unix.EIO
	}
	return n, err
}

// A part of a table that cannot be read is not taken for whole.
func TestTableThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir, _, _ := flipped(t)
	b, err := os.ReadFile(filepath.Join(dir, "store", "000001.sst"))
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	for err := error(unix.EIO); err != nil; {
		reads++
		if err = journal.CheckBlocks(&failingAt{bytes.NewReader(b), reads}, int64(len(b))); err != nil && !errors.Is(err, unix.EIO) {
			t.Errorf("read %d fails, and the table is wrong: %v", reads, err)
		}
	}
	if reads < 4 { // footer, index, a block, and one more than there are
		t.Errorf("it is taken for whole where read %d fails", reads)
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
