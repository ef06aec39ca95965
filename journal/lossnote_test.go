package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
)

// lossy is a stopped journal of which much is gone: a batch that was acknowledged, an entry of
// an index, all but the events of an intent, the plan of another, head and log of a third, and what was
// sent of a dead letter.
func lossy(t *testing.T) (w *world, forgotten journal.ID, unfit []journal.ID) {
	t.Helper()
	w = setup(t)
	w.accept()
	forgotten = w.accept()
	h := w.hand1(w.accept())
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Reject: true})
	unfit = []journal.ID{w.gated(journal.Accept{}, part(0, false, "a")), w.accept()}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.fallBack()
	w.plant(all(remove('o'), without(forgotten, "iv"), without(unfit[0], "j"), without(unfit[1], "it"), without(h.ID, "v")))
	return w, forgotten, unfit
}

// Wherever a start that accepts a loss is cut short, the one that comes to the end says all
// that was lost, and leaves what the first would have.
func TestLossIsSaidWhereverAStartIsCutShort(t *testing.T) {
	t.Parallel()
	whole, forgotten, unfit := lossy(t)
	w := whole.copied(t)
	w.goOn()
	counts := func(w *world) (all []string) { // but for those of what is nobody's, and what each index lacks
		for _, line := range strings.Split(w.j.Stats().Loss, "; ") {
			if !strings.HasSuffix(line, "were removed") && !strings.HasSuffix(line, "were mended") && !strings.HasPrefix(line, "index ") {
				all = append(all, line)
			}
		}
		return all
	}
	dead := func(w *world) int {
		dead, _, err := w.j.DeadLetters(journal.DeadFilter{Limit: 100})
		if err != nil {
			w.Error(err)
		}
		return len(dead)
	}
	want, wantDead := counts(w), dead(w)
	if len(want) != 4 {
		t.Fatalf("said to be lost: %q", want)
	}
	cuts := 0
	for n := 1; ; n++ {
		for _, persist := range []bool{false, true} {
			v := whole.copied(t)
			o := journal.FailStart(journal.Options{Dir: v.dir, AcceptLoss: true}, n, persist)
			if j, err := journaltest.Open(o); err == nil {
				j.Close()
				if cuts < 10 {
					t.Errorf("it was cut short %d times", cuts)
				}
				return
			}
			cuts++
			at := fmt.Sprintf("at commit %d (persisted %t)", n, persist)
			v.wantDamage("was cut short")
			gone := v.goOn()
			if got := counts(v); !slices.Equal(got, want) {
				t.Errorf("cut short %s, said to be lost: %q, want %q", at, got, want)
			}
			if !slices.Contains(gone, forgotten) {
				t.Errorf("cut short %s, %v are said to be gone, want %s, too", at, gone, forgotten)
			}
			if got := dead(v); got != wantDead {
				t.Errorf("cut short %s, %d dead letters, want %d", at, got, wantDead)
			}
			for _, id := range unfit {
				if got := v.status(id); got != state.Failed {
					t.Errorf("cut short %s, one that cannot go on is %s", at, got)
				}
			}
			v.holds()
			v.open(journal.Options{})
			if said := v.j.Stats().Loss; said != "" {
				t.Errorf("cut short %s, the start after the next says %q", at, said)
			}
		}
	}
}

// The last word of a start is said again where it is killed in it, with all names.
func TestLossIsSaidAgain(t *testing.T) {
	t.Parallel()
	w, forgotten, unfit := lossy(t)
	then := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{AcceptLoss: true, Hooks: journal.Hooks{Warning: func(line string) {
		if strings.HasPrefix(line, "started with --accept-loss") {
			if err := journal.CopyStopped(w.dir, then.dir); err != nil { // as a kill would leave it
				t.Error(err)
			}
		}
	}}})
	said := w.j.Stats().Loss
	then.wantDamage("up to then: ")
	r, err := journal.Verify(then.dir)
	if err != nil || !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool { return strings.Contains(d.What, "2 batches or more") }) {
		t.Errorf("verify: %v, %v", r.Damages, err)
	}
	gone := then.goOn()
	if got := strings.ReplaceAll(then.j.Stats().Loss, "up to ", ""); got != said {
		t.Errorf("said to be lost: %q, and then %q", said, got)
	}
	if !strings.Contains(then.j.Stats().Loss, "up to 1 entries of indexes") {
		t.Errorf("what may have been counted twice is said for sure: %s", then.j.Stats().Loss)
	}
	for _, id := range append(unfit, forgotten) {
		if !slices.Contains(gone, id) {
			t.Errorf("%v are named, want %s, too", gone, id)
		}
	}
	then.holds()
}

// A file that was left out, or made anew, is said so by the next start, which does not find it.
func TestLossOfAFileIsSaidAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		said   string
	}{
		{"left out", func([]byte) []byte { return nil }, "left out and kept in lost: table 000001.sst: "},
		{"made anew", func(b []byte) []byte { b[len(b)/3] ^= 1; return b }, ": made anew without "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, _, _ := halves(t)
			table, mark := filepath.Join(w.dir, "store", "000001.sst"), filepath.Join(w.dir, "journal.hwm")
			ours := rewriteFile(t, mark, func([]byte) []byte { return readFile(t, filepath.Join(stopped(t), "journal.hwm")) })
			rewriteFile(t, table, c.change)
			if j, err := journaltest.Open(journal.Options{Dir: w.dir, AcceptLoss: true}); err == nil {
				j.Close()
				t.Fatal("it has started with the mark of another")
			}
			rewriteFile(t, mark, func([]byte) []byte { return ours })
			w.wantDamage(c.said)
			w.goOn()
			if said := w.j.Stats().Loss; !strings.Contains(said, c.said) || strings.Contains(said, "a start that was cut short") {
				t.Errorf("said to be lost: %q, want %q", said, c.said)
			}
			w.holds()
		})
	}
	t.Run("cut short in it", func(t *testing.T) {
		t.Parallel()
		w, _, _ := halves(t)
		rewriteFile(t, filepath.Join(w.dir, "store", "000001.sst"), func([]byte) []byte { return nil })
		inTheWay := filepath.Join(w.dir, "lost")
		if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if j, err := journaltest.Open(journal.Options{Dir: w.dir, AcceptLoss: true}); err == nil {
				j.Close()
				t.Fatal("it has left out what it could not keep")
			}
		}
		const said = "left out or made anew by a start that was cut short, and kept in lost: table 000001.sst"
		w.wantDamage(said)
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		then := w.copied(t) // where the file is another's already
		if err := os.Remove(filepath.Join(then.dir, "store", "000001.sst")); err != nil {
			t.Fatal(err)
		}
		then.goOn()
		if got := then.j.Stats().Loss; !strings.Contains(got, said) || strings.Count(got, "table 000001.sst: ") != 2 {
			t.Errorf("said to be lost: %q, want %q once, and that it is gone", got, said)
		}
		w.goOn() // it has it to do still
		if got := w.j.Stats().Loss; strings.Contains(got, said) || strings.Count(got, "table 000001.sst: ") != 1 {
			t.Errorf("said to be lost: %q, want the table in it once", got)
		}
	})
}

// What a start finds before it reads what is on record is said beside that.
func TestLossBesideADamagedMark(t *testing.T) {
	t.Parallel()
	w, _, _ := lossy(t)
	if j, err := journaltest.Open(journal.FailStart(journal.Options{Dir: w.dir, AcceptLoss: true}, 1, true)); err == nil {
		j.Close()
		t.Fatal("it was not cut short")
	}
	rewriteFile(t, filepath.Join(w.dir, "journal.hwm"), func([]byte) []byte { return nil })
	w.goOn()
	for _, want := range []string{"high-water mark", "index due: 3 keys expected, 2 found", "2 batches or more"} {
		if said := w.j.Stats().Loss; !strings.Contains(said, want) {
			t.Errorf("said to be lost: %q, want %q", said, want)
		}
	}
	w.holds()
}

// What is on record of a loss, and cannot be read, is not taken for nothing, nor for another.
func TestLossThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b []byte) []byte{
		"no JSON":       func([]byte) []byte { return []byte("A start has begun.\n") },
		"another digit": func(b []byte) []byte { return []byte(strings.Replace(string(b), `"batches":2`, `"batches":3`, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, _ := lossy(t)
			o := journal.FailStart(journal.Options{Dir: w.dir, AcceptLoss: true}, 1, true)
			if j, err := journaltest.Open(o); err == nil {
				j.Close()
				t.Fatal("it was not cut short")
			}
			rewriteFile(t, filepath.Join(w.dir, "journal.loss"), change)
			w.wantDamage("is not known")
			w.goOn()
			if said := w.j.Stats().Loss; !strings.Contains(said, "is not known") || strings.Contains(said, "batches") {
				t.Errorf("said to be lost: %q", said)
			}
			w.holds()
		})
	}
}

// What is on record is bounded: of more intents only the number is.
func TestLossOnRecordIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const most, lines = 10_000, 100
	said, names, err := journal.NoteLoss(dir, most+5, lines+5)
	if err != nil {
		t.Fatal(err)
	}
	if names != most || strings.Count(said, "index ") != lines {
		t.Errorf("%d intents are named, and %d lines; want %d, and %d", names, strings.Count(said, "index "), most, lines)
	}
	for _, want := range []string{fmt.Sprintf("due: %d keys", lines-1), fmt.Sprintf("up to %d intents could not be read", most+5)} {
		if !strings.Contains(said, want) {
			t.Errorf("said: %s, want %q", said, want)
		}
	}
}

// A start that has found fewer batches gone than one before it, which was cut short, says how
// many that was.
func TestMostBatchesThatWereGone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var copies []string
	for range 2 {
		w.accept()
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, w.copyStore())
		w.open(journal.Options{})
	}
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.replaceStore(copies[0])
	if j, err := journaltest.Open(journal.FailStart(journal.Options{Dir: w.dir, AcceptLoss: true}, 1, false)); err == nil {
		j.Close()
		t.Fatal("it was not cut short")
	}
	w.wantDamage("4 batches or more")
	w.replaceStore(copies[1])
	w.goOn()
	if said := w.j.Stats().Loss; !strings.Contains(said, "4 batches or more") {
		t.Errorf("said to be lost: %q", said)
	}
}

// stopped is a directory with a journal.
func stopped(t *testing.T) string {
	t.Helper()
	w := setup(t)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	return w.dir
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rewriteFile puts another content into a file, and returns the one before.
func rewriteFile(t *testing.T, path string, change func(b []byte) []byte) (before []byte) {
	t.Helper()
	before = readFile(t, path)
	if err := os.WriteFile(path, change(slices.Clone(before)), 0o600); err != nil {
		t.Fatal(err)
	}
	return before
}
