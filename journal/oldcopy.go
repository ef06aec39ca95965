package journal

import "fmt"

// OldCopy is an ErrOldCopy that says which journal it is. Its words are the same at both ends,
// and in both logs.
type OldCopy struct {
	Journal ID     // ours, or that of who we talk to
	Proof   string // what it has forgotten
}

func (e *OldCopy) Error() string {
	return fmt.Sprintf("%v: %s: journal %s was put back; stop its sidecar and start it once with --accept-loss, which gives its journal a new epoch", ErrOldCopy, e.Proof, e.Journal)
}

func (e *OldCopy) Unwrap() error { return ErrOldCopy }
