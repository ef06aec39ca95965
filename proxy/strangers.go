package proxy

import (
	"os"
	"slices"
	"strings"
)

// entriesLooked bounds how many entries of a directory are looked at before a journal is made in it.
const entriesLooked = 1000

// warnOfStrangers says before a first start that the directory is somebody else's, too: a journal is
// deleted, copied and put back as a directory.
func (r *run) warnOfStrangers() {
	if names := strangersIn(r.opts.Journal); len(names) > 0 {
		r.log.Warn("a journal is made in a directory that holds other things: give --journal one of its own", "journal", r.opts.Journal, "entries", few(names))
	}
}

// strangersIn are the entries of a directory that are no part of a journal, sorted; none where there
// is a journal already.
func strangersIn(dir string) (names []string) {
	d, err := os.Open(dir)
	if err != nil {
		return nil // it is about to be made, or opening the journal says what is wrong
	}
	defer d.Close()
	entries, _ := d.ReadDir(entriesLooked) // as above
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "store":
			return nil
		case name == "lost+found", name == "secrets", strings.HasPrefix(name, "journal."):
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
