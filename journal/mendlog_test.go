package journal_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
)

// madeLog is a log of heads of intents, each with a letter.
type madeLog struct {
	whole []byte
	at    map[byte]int // where an entry begins, or, by the number of a transaction, its end
}

// logOf has a transaction of each word, from 7 on: of its letters, and none of a dash.
func logOf(words string) (l madeLog) {
	l = madeLog{make([]byte, 20), map[byte]int{}}
	for n, letters := range strings.Fields(words) {
		if letters == "-" {
			continue
		}
		for _, letter := range []byte(letters) {
			l.at[letter] = len(l.whole)
			l.whole = append(l.whole, headOf(letter, uint64(7+n), 1500)...)
		}
		l.at[byte('7'+n)] = len(l.whole)
		l.whole = append(l.whole, journal.EndOfTransaction(uint64(7+n))...)
	}
	return l
}

func headOf(letter byte, version uint64, size int) []byte {
	id := intentOf(letter)
	key := append([]byte{'i'}, id[:]...)
	return entryOf(1<<6, 0, versioned(key, version), size)
}

func versioned(key []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(key, math.MaxUint64-version)
}

func intentOf(letter byte) journal.ID { return journal.ID(bytes.Repeat([]byte{letter}, 16)) }

// What is damaged in a log costs the entries that it hits, and is said to be of their intents
// where they can be told. Of a transaction that nobody was told of nothing is used.
func TestDamagedLogIsTakenApart(t *testing.T) {
	t.Parallel()
	l := logOf("ab cd ef")
	head := 17 + 8 + 6                                                            // of an entry: its lengths and key
	alien := func(b, e []byte) { copy(b[l.at['a']+100:], e); b[l.at['a']] = 'x' } // an entry in what cannot be read
	for _, c := range []struct {
		damage string
		plant  func(b []byte)
		kept   string
		said   string
		of     string
	}{
		{"of the key of all", func(b []byte) { b[7] ^= 1 }, "ab cd ef", "made anew whole", ""},
		{"a value", func(b []byte) { b[l.at['b']+900] ^= 1 }, "a cd ef", "without 1535 bytes of 1 of", "b"},
		{"the first value", func(b []byte) { b[l.at['a']+900] ^= 1 }, "b cd ef", "without 1535 bytes of 1 of", "a"},
		{"two values of one", func(b []byte) { b[l.at['c']+900] ^= 1; b[l.at['d']+900] ^= 1 }, "ab - ef", "without 3070 bytes of 1 of", "cd"},
		{"values of two", func(b []byte) { b[l.at['c']+900] ^= 1; b[l.at['f']+900] ^= 1 }, "ab d e", "without 3070 bytes of 2 of", "cf"},
		{"the length of a value", func(b []byte) { b[l.at['b']+4] ^= 1 }, "a cd ef", "without 1535 bytes of 1 of", "b"},
		{"a length that is none", func(b []byte) { copy(b[l.at['b']+2:], bytes.Repeat([]byte{0xff}, 12)) }, "a cd ef", "without 1535 bytes of 1 of", ""},
		{"the version of a key, too late", func(b []byte) { b[l.at['b']+head-2] ^= 8 }, "a cd ef", "without 1535 bytes of 1 of", ""},
		{"the version of a key, too early", func(b []byte) { b[l.at['d']+head-1] ^= 8 }, "ab c ef", "without 1535 bytes of 1 of", ""},
		{"the end of one", func(b []byte) { b[l.at['7']+9] ^= 1 }, "ab cd ef", "made anew whole", ""},
		{"the end of the last", func(b []byte) { b[l.at['9']+9] ^= 1 }, "ab cd ef", "made anew whole", ""},
		{"most of the end of one", func(b []byte) { copy(b[l.at['7']:], "xxxxxxxxxxxx") }, "ab cd ef", "without 29 bytes of 2 of", ""},
		{"an end and what follows", func(b []byte) { copy(b[l.at['7']+20:], bytes.Repeat([]byte("x"), 99)) }, "ab d ef", "of 2 of", ""},
		{"a sector of one, zero", func(b []byte) { clear(b[512:1024]) }, "b cd ef", "without 1535 bytes of 1 of", "a"},
		{"a sector of two, zero, the last one of them", func(b []byte) { clear(b[l.at['8']-9:][:1024]) }, "ab c f", "of 2 of", "d"},
		{"an entry without a version", func(b []byte) { alien(b, entryOf(1<<6, 0, []byte("k"), 3)) }, "b cd ef", "without 1535 bytes of 1 of", "a"},
		{"an entry of no transaction", func(b []byte) { alien(b, entryOf(0, 0, versioned([]byte("k"), 7), 3)) }, "b cd ef", "without 1535 bytes of 1 of", "a"},
		{"an entry in the text of a body", func(b []byte) { alien(b, entryOf(1<<6, 'x', versioned([]byte("k"), 7), 3)) }, "b cd ef", "without 1535 bytes of 1 of", "a"},
		{"a key longer than all there is", func(b []byte) { copy(b[l.at['f']+2:], []byte{0xff, 0xff, 2}) }, "ab cd e", "without 1535 bytes of 1 of", ""},
		{"a key that is but a version", func(b []byte) { b[l.at['b']+2] = 8; copy(b[l.at['b']+6:], versioned(nil, 7)) }, "a cd ef", "without 1535 bytes of 1 of", ""},
		{"a value, and the last has not come to its end", func(b []byte) { b[l.at['b']+900] ^= 1; clear(b[l.at['f']+900:]) }, "a cd", "without 1535 bytes of 1 of", "b"},
		{"a value, and the last ends with an entry", func(b []byte) { b[l.at['b']+900] ^= 1; clear(b[l.at['9']:]) }, "a cd", "without 1535 bytes of 1 of", "b"},
		{"a value, and the last lacks a sector", func(b []byte) { b[l.at['b']+900] ^= 1; clear(b[8192:8704]) }, "a cd", "without 1535 bytes of 1 of", "b"},
		{"a value, and the last lacks its first sector", func(b []byte) { b[l.at['b']+900] ^= 1; clear(b[l.at['e']:7168]) }, "a cd", "without 1535 bytes of 1 of", "b"},
		{"all", func(b []byte) { clear(b) }, "", "made anew whole", ""},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			b := append(bytes.Clone(l.whole), make([]byte, 4096)...)
			c.plant(b)
			anew, said := journal.TakeApart(b)
			if want := logOf(c.kept); !bytes.Equal(anew, want.whole) {
				t.Errorf("made anew: %d bytes, want %d, of %q", len(anew), len(want.whole), c.kept)
			}
			if !strings.Contains(said, c.said) {
				t.Errorf("said: %q, want %q", said, c.said)
			}
			for _, letter := range []byte("abcdef") {
				if named := strings.Contains(said, intentOf(letter).String()); named != strings.Contains(c.of, string(letter)) {
					t.Errorf("%c is named: %t: %s", letter, named, said)
				}
			}
		})
	}
}

// A wrong bit in a log costs one entry of it, of an intent that is named, and a sector those in
// it: all else is as it was.
func TestDamageOfALogCostsWhatItHits(t *testing.T) {
	t.Parallel()
	const most = 60 // of 240 intents: a sector has heads of so many
	w := &world{T: t, dir: t.TempDir()}
	payload := []byte(`{"x":"` + strings.Repeat("x", 3000) + `"}`)
	w.open(journal.Options{Space: journal.Space{BallastBytes: -1}})
	w.traffic(60, payload)
	w.reopen()
	for range 60 {
		w.accept()
	}
	w.traffic(120, payload)
	before := map[journal.ID]state.Status{}
	list, _, err := w.j.List(journal.Filter{Limit: 1000})
	if err != nil || len(list) != 240 {
		t.Fatal(len(list), err)
	}
	for _, i := range list {
		before[i.ID] = i.Status()
	}
	killed := &world{T: t, dir: t.TempDir()}
	if err := journal.CopyStopped(w.dir, killed.dir); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(killed.dir, "store", "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	used := len(bytes.TrimRight(killed.newestLog(), "\x00"))
	if err := os.Truncate(logs[0], int64(used)+4096); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 7))
	for range 8 {
		at := 20 + random.IntN(used-20)
		killed.damaged(logs[0], func(b []byte) []byte { b[at] ^= 1 << random.IntN(8); return b }, before, 1)
	}
	for range 2 {
		at := random.IntN(used - 64<<10) // the last transaction may be one that a crash has cut
		killed.damaged(logs[0], func(b []byte) []byte { clear(b[at : at+4096]); return b }, before, most)
		killed.damaged(logs[0], func(b []byte) []byte { copy(b[at:], bytes.Repeat([]byte{0xa5}, 4096)); return b }, before, most)
	}
}

// An intent of which a log has lost several records is named once.
func TestLostOfALogIsNamedOnce(t *testing.T) {
	t.Parallel()
	l := logOf("aab")
	l.whole[l.at['a']-100] ^= 1
	l.whole[l.at['a']+100] ^= 1
	if _, said := journal.TakeApart(l.whole); strings.Count(said, intentOf('a').String()) != 1 {
		t.Errorf("said: %s", said)
	}
}

// Where the disk does not let a damaged log be made anew the start fails, and what can be read of
// it is there for the next one.
func TestLogThatCannotBeMadeAnew(t *testing.T) {
	t.Parallel()
	_, dir, ids := flipped(t)
	w := &world{T: t, dir: dir}
	log := filepath.Join(dir, "store", "00001.mem")
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	b[500] ^= 1
	if err := os.WriteFile(log, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(log+".anew", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if j, err := journaltest.Open(journal.Options{Dir: dir, AcceptLoss: true}); err == nil || !strings.Contains(err.Error(), "make 00001.mem anew") {
		t.Fatalf("opened all the same: %v, %v", j, err)
	}
	if err := os.RemoveAll(log + ".anew"); err != nil {
		t.Fatal(err)
	}
	w.goOn()
	kept := 0
	for _, id := range ids {
		if _, err := w.j.Get(id); err == nil {
			kept++
		}
	}
	if kept < len(ids)-1 {
		t.Errorf("of %d intents %d are left: %s", len(ids), kept, w.j.Stats().Loss)
	}
	w.whole()
}

// Whatever bit of a log is wrong, all but the entry that it is in are used, as they were.
func TestAnyBitOfALogCostsOneEntry(t *testing.T) {
	t.Parallel()
	l := logOf("ab cd ef")
	may := map[string]bool{string(l.whole): true}
	for _, words := range []string{"b cd ef", "a cd ef", "ab d ef", "ab c ef", "ab cd f", "ab cd e"} {
		may[string(logOf(words).whole)] = true
	}
	for n := 0; n < 8*len(l.whole); n += 13 {
		b := append(bytes.Clone(l.whole), make([]byte, 64)...)
		b[n/8] ^= 1 << (n % 8)
		if anew, said := journal.TakeApart(b); !may[string(anew)] {
			t.Fatalf("bit %d of byte %d: %d bytes are left of %d: %s", n%8, n/8, len(anew), len(l.whole), said)
		}
	}
}
