package journal

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// ID is a UUID as 16 bytes: of an intent (version 7, made at accept), of a
// lease, or of a journal. The zero ID means none.
type ID [16]byte

// NewID returns a new UUIDv7: ids of one journal sort by the time they were made.
func NewID() ID { return ID(uuid.Must(uuid.NewV7())) }

// ParseID reads the canonical text form of a UUID, and no other form.
func ParseID(s string) (ID, error) {
	if len(s) != 36 {
		return ID{}, fmt.Errorf("%q is not a UUID", s)
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return ID{}, fmt.Errorf("%q is not a UUID", s)
	}
	return ID(id), nil
}

// IDOf reads the 16-byte form used in records and frames.
func IDOf(b []byte) (ID, error) {
	if len(b) != 16 {
		return ID{}, fmt.Errorf("an id has 16 bytes, not %d", len(b))
	}
	return ID(b), nil
}

func (id ID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether the id means none.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns when a UUIDv7 was made, to the millisecond.
func (id ID) Time() time.Time {
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	return time.UnixMilli(ms)
}

// IDAt returns the lowest id that can have been made at that time: those made
// before it are lower.
func IDAt(t time.Time) (id ID) {
	ms := max(0, t.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// Identity names one life of a journal: the id is made with the journal, the
// epoch grows at restore.
type Identity struct {
	Journal ID
	Epoch   uint64
}

// Agent is the number of an address in the journal's dictionary.
type Agent uint32
