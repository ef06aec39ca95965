package crowd

import (
	"errors"
	"net"
	"syscall"
)

// Guard knows how many files are left to the whole process, of which a room is a part: its
// share says what it may have, and not what others have taken. The zero Guard guards
// nothing.
type Guard struct {
	// Fits reports whether a connection that was just opened leaves enough files; nil: each does.
	Fits func() bool
	// Out is told of what could not be opened, and reports whether that was for want of a
	// file, and may be tried once more; nil: nothing is.
	Out func(error) bool
}

var errNoFiles = errors.New("hardly any files are left to open: raise the limit of open files")

func (g Guard) fits() bool { return g.Fits == nil || g.Fits() }

func (g Guard) out(err error) bool { return g.Out != nil && g.Out(err) }

// dialer is d where each socket, those that ask for a name too, is given up before it
// connects if it leaves too few files.
func (g Guard) dialer(d *net.Dialer) *net.Dialer {
	guarded := *d
	guarded.Control = func(network, address string, c syscall.RawConn) error {
		if !g.fits() {
			return errNoFiles
		}
		if d.Control == nil {
			return nil
		}
		return d.Control(network, address, c)
	}
	asking := &net.Dialer{Control: func(string, string, syscall.RawConn) error {
		if !g.fits() {
			return errNoFiles
		}
		return nil
	}}
	guarded.Resolver = &net.Resolver{Dial: asking.DialContext}
	return &guarded
}
