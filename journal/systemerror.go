package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// SystemError says that the system has kept a journal from being opened: a disk that is full
// or fails, no file left to open, no permission. The store is as it was, as far as is known.
// Verify answers with it what it could not read for the same reasons.
type SystemError struct {
	Dir string
	Err error
	// Unread: what could not be read is a file of the store. A bad sector stays so.
	Unread bool
	// Verifying: it was to be verified, not opened.
	Verifying bool
}

func (e *SystemError) Error() string {
	done, again := "opened", "start"
	if e.Verifying {
		done, again = "verified", "verify"
	}
	what := fmt.Sprintf("the journal in %s cannot be %s: %s; nothing is known to be damaged: %s, and %s again", e.Dir, done, oneLine(e.Err), remedy(e.Err), again)
	if e.Unread {
		what += "; a file that can never be read is gone: then restore a backup, or start once with --accept-loss to go on with what is left"
	}
	return what
}

func (e *SystemError) Unwrap() error { return e.Err }

// startError is how a start ends that the system has not let go on, whatever it was about; what is
// known to be damaged, and what is no error of the system, stays what it is.
func startError(dir string, err error) error {
	if !keptOut(err) {
		return err
	}
	return &SystemError{Dir: dir, Err: err}
}

// verifyError is the same of a journal that was to be verified, for which temporary files are made, too.
func verifyError(dir string, err error) error {
	if !keptOut(err) && !errors.Is(err, errTemp) {
		return err
	}
	return &SystemError{Dir: dir, Err: err, Verifying: true}
}

func keptOut(err error) bool {
	var system *SystemError
	var damage *DamageError
	if errors.As(err, &system) || errors.As(err, &damage) || !bySystem(err) && !errors.Is(err, errVolumeFull) {
		return false
	}
	return true
}

// errVolumeFull: there is less room than the store may write next.
var errVolumeFull = errors.New("its volume is full")

// remedy is what to do about what the system says.
func remedy(err error) string {
	switch {
	case saysOne(err, []error{unix.EMFILE, unix.ENFILE}):
		return "raise the limit of open files (ulimit -n)"
	case saysOne(err, []error{unix.EFBIG}):
		return "raise the limit of the size of a file (ulimit -f)"
	case errors.Is(err, errTemp):
		return "set TMPDIR to a directory that has room and may be written to"
	case errors.Is(err, errVolumeFull), saysOne(err, noRoomLeft):
		return "make room"
	case saysOne(err, []error{unix.EACCES, unix.EPERM}):
		return "look as whom the process runs, and who may read and write there"
	case saysOne(err, []error{unix.EROFS}):
		return "mount the volume for writing"
	}
	return "look at the disk"
}

// unreadable are what a disk says that has what was written no more, or not just now.
var unreadable = []error{unix.EIO, unix.EBADMSG, unix.EUCLEAN, unix.ENODATA}

// refusals are what else keeps a process from files that are whole. A file that is not there
// (ENOENT) is none of them: it is gone.
var refusals = []error{
	unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EFBIG, // no room, or no more of it
	unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN, unix.EBUSY, unix.EINTR, // not now
	unix.EACCES, unix.EPERM, // not we
}

// noRoomLeft is what is said of a volume that is full, or of all of it that we may have.
var noRoomLeft = []error{unix.ENOSPC, unix.EDQUOT}

// volumeGone is what is said of a volume that is not there any more.
var volumeGone = []error{unix.ESTALE, unix.ENODEV, unix.ENXIO, unix.ESHUTDOWN, unix.ETIMEDOUT}

func bySystem(err error) bool { return saysOne(err, unreadable) || refuses(err) }

// refuses reports whether what could not be used may well be whole.
func refuses(err error) bool { return saysOne(err, refusals) || saysOne(err, volumeGone) }

// saysOne reports whether an error is one of these. Badger keeps of the cause of an error no
// more than its text.
func saysOne(err error, of []error) bool {
	return slices.ContainsFunc(of, func(one error) bool {
		return errors.Is(err, one) || strings.Contains(err.Error(), one.Error())
	})
}

// oneLine is the text of an error as a log has it: those of Badger have line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
