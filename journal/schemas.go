package journal

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"pannier/journal/wire"
)

// maxSchemas bounds what is kept in memory: with MaxSchema, 16 MiB.
const maxSchemas = 256

// MaxSchema is the size of the largest schema.
const MaxSchema = 64 << 10

// schemas are all there are, in memory: an accept looks at them.
type schemas struct {
	mu struct {
		sync.RWMutex
		byType map[string]*wire.Schema // never changed once they are here
	}
}

func newSchemas() *schemas {
	s := &schemas{}
	s.mu.byType = map[string]*wire.Schema{}
	return s
}

func (s *schemas) load(txn *page) error {
	return eachRecord(txn, []byte{classSchema}, func() *wire.Schema { return &wire.Schema{} }, func(_ []byte, one *wire.Schema) { s.set(one) })
}

func (s *schemas) set(one *wire.Schema) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.byType[one.SemanticType] = one
}

// PutSchema makes it the schema of its type, durably, and returns it as it is
// kept. One that was there is replaced, and keeps the time it was made.
func (j *Journal) PutSchema(ctx context.Context, in *wire.Schema, key *Key) (kept *wire.Schema, replayed bool, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		k, was := schemaKey(in.SemanticType), &wire.Schema{}
		found, err := t.get(k, was)
		if err != nil {
			return err
		}
		if thing, err := t.once(key, []byte(in.SemanticType)); err != nil || thing != nil {
			kept, replayed = was, thing != nil
			return err
		}
		if n, err := t.countOf(classSchema, len(j.Schemas())); !found && (err != nil || n >= maxSchemas) {
			return cmp.Or(err, ErrTooMany)
		}
		in.UpdatedMs = ms(t.now)
		if in.CreatedMs = in.UpdatedMs; found {
			in.CreatedMs = was.CreatedMs
		}
		kept = in
		t.after(func() { j.schemas.set(in) })
		return t.put(k, in)
	}})
	return kept, replayed, err
}

// Schema returns the schema of a type, nil where there is none. It is not to be
// changed.
func (j *Journal) Schema(semanticType string) *wire.Schema {
	j.schemas.mu.RLock()
	defer j.schemas.mu.RUnlock()
	return j.schemas.mu.byType[semanticType]
}

// Schemas lists them by type.
func (j *Journal) Schemas() []*wire.Schema {
	j.schemas.mu.RLock()
	defer j.schemas.mu.RUnlock()
	return slices.SortedFunc(maps.Values(j.schemas.mu.byType), func(a, b *wire.Schema) int { return strings.Compare(a.SemanticType, b.SemanticType) })
}

func schemaKey(semanticType string) []byte { return append([]byte{classSchema}, semanticType...) }
