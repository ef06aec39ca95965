package crowd

import "syscall"

const (
	// filesKept, and half of all where that is more, are never spent on connections:
	// a journal that cannot open its next file stops for good, and whoever may
	// connect could make it.
	filesKept = 256
	// least is let in where there are next to no files: something else will
	// say so.
	least = 16
	// most is for processes that may open more files than they have memory for.
	most = 16_384
)

// Part is so many sixteenths of the files that may be spent on connections.
func Part(files, sixteenths uint64) int {
	spent := files - min(files, max(files/2, filesKept))
	return Places(spent / 16 * sixteenths)
}

// Places keeps a number of files that may be spent within bounds.
func Places(files uint64) int { return int(min(max(files, least), most)) }

// OpenFiles is how many files this process may open. Go's runtime has raised the
// soft limit to the hard one.
func OpenFiles() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024 // what systems begin with
	}
	return l.Cur
}
