package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"pannier/journal"
)

// leftInTemp are the files where temporary ones go.
func leftInTemp(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// A look takes room for what is in logs alone, whatever else is beside them, and gives it back,
// also where it fails: a start after each kill would fill the volume.
func TestLookLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	w := setup(t)
	w.accept()
	w.reopen() // into a table
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(w.dir, "store")
	if err := errors.Join(os.Mkdir(filepath.Join(store, "lost+found"), 0o700), unix.Mknod(filepath.Join(store, "socket"), unix.S_IFSOCK|0o600, 0)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp)
	dir, remove, err := journal.CopyToLook(store)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	for _, table := range tables {
		if _, err := os.Readlink(table); err != nil {
			t.Errorf("a table was copied: %v", err)
		}
	}
	remove()
	if _, _, err := journal.CopyToLook(filepath.Join(store, "none")); err == nil {
		t.Error("a look at what is not there")
	}
	if left := leftInTemp(t, temp); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) > 0 {
		t.Errorf("verify: %v, %q", err, r.Damages)
	}
	if left := leftInTemp(t, temp); len(left) > 0 {
		t.Errorf("left by verify: %v", left)
	}
}

// A journal on a volume that cannot be written to is verified: of its tables a copy is made, since
// the store opens none that it may not write to.
func TestVerifyOnAReadOnlyVolume(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	w := setup(t)
	w.accept()
	w.reopen() // into a table
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(w.dir, w.dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(w.dir, 0) })
	if err := unix.Mount("", w.dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "mine"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Fatalf("the volume can be written to: %v", err)
	}
	if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) > 0 {
		t.Errorf("verify: %v, %q", err, r.Damages)
	}
}
