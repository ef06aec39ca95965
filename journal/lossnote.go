package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A start that accepts a loss mends what shows it: where it is cut short, the next one finds
// little or nothing gone. So what it has found is in a file before anything is done about it,
// and the start that comes to the end says all of it, with what it finds itself.
//
// The file says so from before the first change until all is done, and no other start goes on
// while it is there. It has a line for each file of the store, a hundred for indexes, and
// the intents that are removed, up to lossNames of them, and that are to end: those all, since
// what was wrong with them may be mended, and they would go on.

// lossName is the file.
const lossName = "journal.loss"

const lossText = "A start with --accept-loss has begun here and has not come to its end. Start with it once more."

const (
	lossNames = 10_000 // intents that are removed and on record by name; others are counted
	lossLines = 100    // of indexes
)

type lossNote struct {
	Text  string          `json:"text"`
	Found json.RawMessage `json:"found"` // a lossFound
	Sum   string          `json:"sum"`   // of that
}

// lossFound is a loss as the file has it, intents with why.
type lossFound struct {
	Batches   uint64            `json:"batches,omitempty"`
	Leaving   []string          `json:"leaving,omitempty"`
	Files     []string          `json:"files,omitempty"`
	Entries   []string          `json:"entries,omitempty"`
	Forgotten map[string]string `json:"forgotten,omitempty"`
	Unnamed   int               `json:"unnamed,omitempty"`
	Removed   int               `json:"removed,omitempty"`
	Mended    int               `json:"mended,omitempty"`
	Unfit     map[string]string `json:"unfit,omitempty"`
}

// note makes durable what has been found up to now.
func (l *loss) note(dir string) error {
	found, err := json.Marshal(lossFound{
		l.batches, l.leaving, l.files, l.entries, byText(l.forgotten), l.unnamed, l.removed, l.mended, byText(l.unfit),
	})
	if err != nil {
		return err
	}
	b, err := json.Marshal(lossNote{lossText, found, noteSum(found)})
	if err != nil {
		return err
	}
	return replaceFile(dir, lossName, append(b, '\n'))
}

// end takes the file away.
func (l *loss) end(dir string) error {
	if err := os.Remove(filepath.Join(dir, lossName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// read takes over what is in the file, and reports whether there is one.
func (l *loss) read(dir string) (there bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, lossName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	l.again = true
	if !l.parse(b) { // an earlier program wrote it, perhaps
		l.addEntries("what it had found before it was cut short is not known: " + lossName + " cannot be read")
	}
	return true, nil
}

func (l *loss) parse(b []byte) bool {
	var n lossNote
	var f lossFound
	if json.Unmarshal(b, &n) != nil || n.Sum != noteSum(n.Found) || json.Unmarshal(n.Found, &f) != nil {
		return false
	}
	forgotten, err := byID(f.Forgotten)
	unfit, uerr := byID(f.Unfit)
	if err != nil || uerr != nil {
		return false
	}
	l.batches, l.leaving, l.files = f.Batches, f.Leaving, f.Files
	l.addEntries(f.Entries...) // beside what this start has met on its way here
	l.forgotten, l.unnamed, l.removed, l.mended, l.unfit = forgotten, f.Unnamed, f.Removed, f.Mended, unfit
	for id := range unfit {
		l.order = append(l.order, id)
	}
	return true
}

func noteSum(found []byte) string { return fmt.Sprintf("%08x", checksum(nil, found)) }

func byText(intents map[ID]string) map[string]string {
	texts := map[string]string{}
	for id, why := range intents {
		texts[id.String()] = why
	}
	return texts
}

func byID(texts map[string]string) (map[ID]string, error) {
	intents := map[ID]string{}
	for text, why := range texts {
		id, err := ParseID(text)
		if err != nil {
			return nil, err
		}
		intents[id] = why
	}
	return intents, nil
}

// takeOver has this start go on where one was cut short, which may have named nobody yet.
func (j *Journal) takeOver() error {
	if _, err := j.loss.read(j.dir); err != nil {
		return err
	}
	f := j.hooks.Corrupt
	if f == nil {
		return nil
	}
	for id, why := range j.loss.forgotten {
		f(leftOf(id, why))
	}
	for id, why := range j.loss.unfit {
		f(Corrupt{ID: id, Record: "intent " + id.String() + ", which cannot go on", Why: why})
	}
	return nil
}

// leftOf is how an intent that is forgotten is said.
func leftOf(id ID, why string) Corrupt {
	return Corrupt{ID: id, Record: "what was left of intent " + id.String(), Why: why}
}

// forget has an intent be one that is removed, and reports whether that is news.
func (l *loss) forget(id ID, why string) (news bool) {
	if _, known := l.forgotten[id]; known {
		return false
	}
	if len(l.forgotten) < lossNames {
		l.forgotten[id] = why
	} else {
		l.unnamed++
	}
	return true
}

func (l *loss) addEntries(lines ...string) {
	for _, line := range lines {
		if len(l.entries) < lossLines && !slices.Contains(l.entries, line) {
			l.entries = append(l.entries, line)
		}
	}
}

// leave has files be about to be left out.
func (l *loss) leave(bad []badFile) {
	for _, b := range bad {
		if !slices.Contains(l.leaving, b.Error()) {
			l.leaving = append(l.leaving, b.Error())
		}
	}
}

// left has them be left out, or made anew, as is said behind what is wrong with them.
func (l *loss) left(said []string) {
	l.files = append(l.files, said...)
	l.leaving = slices.DeleteFunc(l.leaving, func(was string) bool {
		return slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, was) })
	})
}
