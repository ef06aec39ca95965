// Package bubble is how a test in a bubble of fake time (testing/synctest) has the store
// opened. The journal takes it as an option, and only what is below the journal can import
// this package: nobody who is shipped can ask for such a store.
package bubble

// Store says how to open the store. The zero value is as it is shipped.
type Store struct{ still bool }

// Still is a store that never compacts by itself.
func Still() Store { return Store{still: true} }

// IsStill reports whether it is one.
func (s Store) IsStill() bool { return s.still }
