package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pannier/journal"
)

// TestAcceptLossOfWhatMayBeWhole: a table that the system keeps from us is not given up, whatever is
// damaged beside it. Where nobody has asked for that, what is damaged is what is said.
func TestAcceptLossOfWhatMayBeWhole(t *testing.T) {
	t.Parallel()
	w, older, newer := halves(t)
	tables, err := filepath.Glob(filepath.Join(w.dir, "store", "*.sst"))
	if err != nil || len(tables) != 2 {
		t.Fatalf("tables: %v, %v", tables, err)
	}
	kept := filepath.Join(t.TempDir(), "kept")
	if err := errors.Join(os.Rename(tables[0], kept), unix.Mknod(tables[0], unix.S_IFSOCK|0o600, 0)); err != nil { // nobody can open it
		t.Fatal(err)
	}
	refused := func(accept bool) {
		t.Helper()
		j, err := journal.Open(journal.Options{Dir: w.dir, AcceptLoss: accept})
		if system := (*journal.SystemError)(nil); !errors.As(err, &system) {
			t.Fatalf("loss is accepted: %t; opened: %v, %v; want a SystemError", accept, j, err)
		}
	}
	refused(false)
	refused(true)
	b, err := os.ReadFile(tables[1])
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(tables[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	w.wantDamage(filepath.Base(tables[1]) + ": the checksum of block 0 is wrong")
	refused(true)
	b[100] ^= 1
	if err := errors.Join(os.Rename(kept, tables[0]), os.WriteFile(tables[1], b, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.open(journal.Options{})
	for _, id := range append(older, newer...) {
		w.status(id)
	}
	w.whole()
}

// TestErrorsOfTheSystem: what the system says of a file is told from damage, by the text too: Badger
// keeps no more of it. What cannot be read may be given up, what is refused not.
func TestErrorsOfTheSystem(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err             error
		system, refuses bool
	}{
		{unix.EIO, true, false},
		{unix.EUCLEAN, true, false},
		{unix.ENOSPC, true, true},
		{unix.EMFILE, true, true},
		{unix.EACCES, true, true},
		{unix.ESTALE, true, true},
		{unix.ENOENT, false, false},
		{errors.New("the checksum is wrong"), false, false},
	} {
		text := errors.New("while opening 000001.sst: " + row.err.Error() + "\n")
		if system, refuses := journal.BySystem(text), journal.Refuses(text); system != row.system || refuses != row.refuses {
			t.Errorf("%q: by the system: %t, want %t; refused: %t, want %t", text, system, row.system, refuses, row.refuses)
		}
	}
	for err, do := range map[error]string{
		unix.EIO: "look at the disk", unix.EMFILE: "ulimit -n", unix.EDQUOT: "make room", unix.EFBIG: "ulimit -f", unix.EACCES: "who may read", unix.EROFS: "for writing",
	} {
		if got := (&journal.SystemError{Dir: "j", Err: err}).Error(); !strings.Contains(got, "nothing is known to be damaged: ") || !strings.Contains(got, do) {
			t.Errorf("%v: it says %q, want %q", err, got, do)
		}
	}
	for _, unread := range []bool{false, true} {
		if got := (&journal.SystemError{Dir: "j", Err: unix.EIO, Unread: unread}).Error(); strings.Contains(got, "--accept-loss") != unread {
			t.Errorf("a file of the store cannot be read: %t; it says %q", unread, got)
		}
	}
}
