package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"pannier/journal/wire"
)

// mark is the high-water mark: what was durable when it was written, kept
// outside Badger so that Badger's own silent loss can be noticed. It is
// replaced every second with traffic and at a clean close, so it may lag
// behind what Badger has; Badger may never lag behind it.
type mark struct {
	Version int    `json:"version"`
	Journal string `json:"journal"`
	Epoch   uint64 `json:"epoch"`
	Seq     uint64 `json:"seq"`
	Clean   bool   `json:"clean"`         // the journal was closed, not killed
	Sum     string `json:"sum,omitempty"` // of these; absent: an earlier program wrote it

	// Live is the fingerprint of the live set with the batch Seq, with a checksum of its own:
	// programs that do not know it check Sum, and none is there where one of those wrote the
	// mark.
	Live string `json:"live,omitempty"`

	Clock clockMark `json:"clock,omitzero"`
}

const markName = "journal.hwm"

// readMark returns nil where there is no mark.
func readMark(dir string) (*mark, error) {
	b, err := readFile(filepath.Join(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, ok := parseMark(b)
	if !ok {
		return nil, &DamageError{
			What: fmt.Sprintf("the high-water mark %s cannot be read", filepath.Join(dir, markName)),
			Hint: "restore the journal from a backup, or start once with --accept-loss to go on without the check for lost batches",
		}
	}
	return m, nil
}

// readFile is os.ReadFile that says what to do about a directory.
func readFile(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, unix.EISDIR) {
		return nil, fmt.Errorf("%w: remove that, the journal has a file of that name", err)
	}
	return b, err
}

func parseMark(b []byte) (*mark, bool) {
	var m mark
	if err := json.Unmarshal(b, &m); err != nil || m.Version != 1 {
		return nil, false
	}
	if _, err := ParseID(m.Journal); err != nil || m.Sum != "" && m.Sum != m.sum() {
		return nil, false
	}
	if hash, _, _ := strings.Cut(m.Live, " "); m.Live != "" && m.Live != m.live(hash) {
		return nil, false
	}
	return &m, true
}

// live is a fingerprint as the mark has it.
func (m mark) live(hash string) string {
	return fmt.Sprintf("%s %08x", hash, checksum([]byte(m.Journal), fmt.Appendf(nil, "%d %s", m.Seq, hash)))
}

// isOf reports whether the mark can have been written beside a store that has come to a batch
// with a live set. One of another history may have come as far: that of a copy which went on
// elsewhere.
func (m mark) isOf(seq uint64, live *sums) bool {
	return m.Live == "" || m.Seq != seq || m.Live == m.live(live.hash())
}

func (m mark) sum() string {
	return fmt.Sprintf("%08x", checksum([]byte(m.Journal), fmt.Appendf(nil, "%d %d %t", m.Epoch, m.Seq, m.Clean)))
}

// write replaces the mark.
func (m mark) write(dir string) error {
	m.Sum = m.sum()
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := replaceFile(dir, markName, append(b, '\n')); err != nil {
		return fmt.Errorf("write high-water mark: %w", err)
	}
	return nil
}

// replaceFile replaces a file atomically: after it returns the new one is durable, and
// until then a power cut leaves either.
func replaceFile(dir, name string, contents []byte) error {
	tmp := filepath.Join(dir, name+".tmp")
	if err := writeSynced(tmp, contents); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// startMark reads the mark that a start compares the store with. Where loss is accepted it may be
// none.
func (j *Journal) startMark() (*mark, error) {
	last, err := readMark(j.dir)
	var damage *DamageError
	if j.loss.asked && errors.As(err, &damage) {
		j.loss.addEntries(damage.What)
		return nil, nil
	}
	return last, err
}

// isBeside compares a mark with the store that it lies beside: what was acknowledged is there,
// unless its loss is accepted.
func (j *Journal) isBeside(last *mark, meta *wire.Meta) error {
	if last == nil && meta.Seq > 1 && !j.loss.asked { // it is there from the first batch on
		j.warn(fmt.Sprintf("%s is gone from %s: whether all that was acknowledged is there nobody can tell", markName, j.dir))
	}
	if last != nil && meta.Seq < last.Seq && !j.loss.asked {
		return &DamageError{
			What: fmt.Sprintf("the journal in %s holds %d batches but at least %d were acknowledged: intents that were accepted are gone", j.dir, meta.Seq, last.Seq),
			Hint: "restore a backup, or start once with --accept-loss to go on without them",
		}
	}
	if last != nil && !last.isOf(meta.Seq, decodeSums(meta.Sums)) && !j.loss.asked {
		return &DamageError{
			What: fmt.Sprintf("the journal in %s has come to batch %d with another live set than was acknowledged: its store is that of a copy which went on elsewhere", j.dir, meta.Seq),
			Hint: "bring back the store that belongs to it, or start once with --accept-loss to go on with this one",
		}
	}
	return nil
}
