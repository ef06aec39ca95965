package journal_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pannier/journal"
	"pannier/journal/wire"
)

// TestSchemasAreKept over a restart, replaced, and not without number.
func TestSchemasAreKept(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	put := func(name, mode string) (*wire.Schema, error) {
		s, _, err := w.j.PutSchema(ctx, &wire.Schema{SemanticType: name, Json: []byte(`{}`), Mode: mode}, nil)
		return s, err
	}
	first, err := put("a.b.c.v1", "strict")
	if err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if second, err := put("a.b.c.v1", "warn"); err != nil || second.CreatedMs != first.CreatedMs {
		t.Errorf("replaced: %v, %v", second, err)
	}
	w.reopen()
	if s := w.j.Schema("a.b.c.v1"); s == nil || s.Mode != "warn" || string(s.Json) != `{}` {
		t.Errorf("after a restart: %v", s)
	}
	for n := 0; err == nil && n < 1000; n++ {
		_, err = put(fmt.Sprintf("a.b.c.v%d", n+2), "warn")
	}
	if !errors.Is(err, journal.ErrTooMany) || len(w.j.Schemas()) != 256 {
		t.Errorf("%d schemas, then %v", len(w.j.Schemas()), err)
	}
	if _, err := put("a.b.c.v1", "strict"); err != nil {
		t.Errorf("replaced when full: %v", err)
	}
}
