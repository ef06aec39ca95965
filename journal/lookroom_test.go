package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pannier/journal"
)

// killedWithALog is a journal with a table of a megabyte and as much in its log.
func killedWithALog(t *testing.T) *world {
	t.Helper()
	w := setup(t)
	w.acceptMany(16, strings.Repeat("x", 64<<10))
	w.reopen()
	w.acceptMany(16, strings.Repeat("y", 64<<10))
	killed := &world{T: t, dir: t.TempDir()}
	if err := journal.CopyStopped(w.dir, killed.dir); err != nil {
		t.Fatal(err)
	}
	return killed
}

// verifyWith verifies with so much room where temporary files go.
func (w *world) verifyWith(v tightVolume, bytes, files int64) (journal.VerifyReport, error) {
	w.Helper()
	v.resize(bytes, files)
	r, err := journal.Verify(w.dir)
	if left := leftInTemp(v.t, v.dir); len(left) > 0 {
		v.t.Fatalf("with room for %d bytes and %d files it has left %v", bytes, files, left)
	}
	return r, err
}

// Where temporary files have too little room for a copy, or for the tables that the store makes of
// its logs, a journal is not verified: the error says how much is needed, and nothing is left behind.
// With so much room the journal is found whole.
func TestVerifyWithoutRoom(t *testing.T) {
	needsRoot(t)
	w := killedWithALog(t)
	v := newTightVolume(t)
	t.Setenv("TMPDIR", v.dir)
	_, none := v.used()
	for what, room := range map[string]struct{ bytes, files, step int64 }{
		`(\d+) MiB`:              {128 << 10, 2000, 128 << 10},
		`(\d+) files \(inodes\)`: {96 << 20, none + 1, 0},
	} {
		needed := int64(0)
		for refused := 0; ; refused++ {
			r, err := w.verifyWith(v, room.bytes, room.files)
			if err == nil {
				if len(r.Damages) > 0 || r.Live != 32 {
					t.Errorf("%s: %d open, %q; want 32, whole", what, r.Live, r.Damages)
				}
				if room.step > 0 && room.bytes > needed<<20 || room.step == 0 && room.files > needed+none+1 || refused < 8 {
					t.Errorf("%s: refused %d times, up to %+v; it said that %d are needed", what, refused, room, needed)
				}
				break
			}
			said := regexp.MustCompile(what + " are needed").FindStringSubmatch(err.Error())
			if system := (*journal.SystemError)(nil); !errors.As(err, &system) || said == nil || !strings.Contains(err.Error(), "set TMPDIR") || !strings.Contains(err.Error(), v.dir) {
				t.Fatalf("%s: refused: %v; it does not say how much is needed where", what, err)
			}
			n, _ := strconv.ParseInt(said[1], 10, 64) // digits
			if refused > 0 && n != needed {
				t.Errorf("%s: it says that %d are needed, and then %d", what, needed, n)
			}
			needed = n
			if room.bytes += room.step; room.step == 0 {
				room.files++
			}
		}
	}
}

// Where there is nowhere to put a copy that is said, whatever the journal is like.
func TestVerifyWithoutAPlaceForACopy(t *testing.T) {
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for temp, words := range map[string]string{filepath.Join(t.TempDir(), "none"): unix.ENOENT.Error(), file: unix.ENOTDIR.Error()} {
		t.Setenv("TMPDIR", temp)
		_, err := journal.Verify(w.dir)
		if system := (*journal.SystemError)(nil); !errors.As(err, &system) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "set TMPDIR") || !strings.Contains(err.Error(), "verify again") {
			t.Errorf("TMPDIR is %s: %v", temp, err)
		}
	}
}
