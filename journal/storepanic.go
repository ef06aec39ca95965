package journal

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// The store panics at a table that has gone bad while it is in use, where it is more than a record
// that is wrong. That is no fault of the intent that was read, nor of who reads: the journal stops,
// and the next start says which file it is. In a goroutine of the store's own the process ends with
// its stack.

// panicInStore reports whether what a deferred function is to recover from began in the store.
func panicInStore() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for panicked, more := false, true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicked = true
		case panicked && strings.HasPrefix(f.Function, "github.com/dgraph-io/badger/"):
			return true
		case panicked && strings.HasPrefix(f.Function, "pannier/"):
			return false
		}
	}
	return false
}

// storePanics stops the journal for what the store has panicked at.
func (j *Journal) storePanics(p any) error {
	err := &DamageError{
		What: fmt.Sprintf("the journal in %s cannot be read any more: %s, in its store", j.dir, cut(strings.Join(strings.Fields(fmt.Sprint(p)), " "), 120)),
		Hint: "start again: a start looks at each file, and says which is damaged",
	}
	j.warn(fmt.Sprintf("%v\n%s", err, debug.Stack()))
	j.fail(err)
	return err
}
