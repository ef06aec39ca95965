//go:build !race

package journal_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pannier/journal"
)

var (
	flipSeed = flag.Uint64("flip.seed", 1, "of TestFlips")
	flipLoss = flag.Bool("flip.loss", false, "have TestFlips accept the loss of each start that is refused")
	flips    = flag.Int("flip.n", 200, "wrong bytes of TestFlips; it is one start each")
)

// A wrong bit, or two wrong bytes, in any file of a journal is found out at the start, or
// when the record is read, or does no harm: what was accepted is never quietly gone.
func TestFlips(t *testing.T) {
	t.Parallel()
	stopped, killed, accepted := flipped(t)
	r := rand.New(rand.NewPCG(*flipSeed, 11))
	var found, goOn, later, harmless int
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
			if *flipLoss && goesOn(t, dir, name) {
				goOn++
			}
			continue
		}
		corrupt := 0
		listed := listed(t, j)
		for _, id := range ids {
			switch i, err := j.Get(id); {
			case err == nil && i.Envelope != nil && bytes.Equal(i.Envelope.Payload, envelope().Payload):
				if !listed[id] {
					t.Errorf("flip %d, %s at %s: a scan of all ends without %s", n, name, where, id)
				}
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
	for _, kind := range []string{"MANIFEST", "KEYREGISTRY", ".sst", ".mem", ".vlog", "DISCARD", "journal.hwm"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(by)), func(name string) bool { return strings.HasSuffix(name, kind) }) {
			t.Errorf("none was in a file like %s: %v", kind, by)
		}
	}
	t.Logf("figure: of %d flips %d were found at the start (%d of them opened with their loss accepted), %d when read, %d did no harm; by file %v", *flips, found, goOn, later, harmless, by)
}

// listed are those that a scan finds.
func listed(t *testing.T, j *journal.Journal) map[journal.ID]bool {
	t.Helper()
	all := map[journal.ID]bool{}
	f := journal.Filter{Limit: 1000}
	for {
		page, next, err := j.List(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page {
			all[i.ID] = true
		}
		if f.Before = next; next.IsZero() {
			return all
		}
	}
}

// goesOn accepts the loss: either that is refused, too, or what opens is whole.
func goesOn(t *testing.T, dir, name string) bool {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: dir, AcceptLoss: true})
	if err != nil {
		if !errors.As(err, new(*journal.DamageError)) {
			t.Errorf("%s, its loss accepted: %v, want a DamageError", name, err)
		}
		return false
	}
	loss := j.Stats().Loss
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if r, err := journal.Verify(dir); err != nil || len(r.Damages) > 0 || loss == "" {
		t.Errorf("%s, its loss accepted, which is %q: %v, %q", name, loss, err, r.Damages)
	}
	return true
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
