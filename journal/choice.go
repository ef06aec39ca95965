package journal

import (
	"context"

	"pannier/journal/wire"
)

// Choose keeps what a keyed write of many intents is about, before it does the first
// of them: under a known key it returns what was chosen the first time. A crash
// between two of them, or a repeat beside the first call, goes on with the same ones,
// and takes no others. The caller bounds the list. ErrKeyConflict where the key was
// used for something else.
func (j *Journal) Choose(ctx context.Context, key *Key, ids []ID) (chosen []ID, replayed bool, err error) {
	err = j.do(ctx, third, &op{run: func(t *tx) error {
		chosen, replayed = ids, false
		d, err := t.known(key)
		if err != nil {
			return err
		}
		if d == nil {
			d = &wire.Dedupe{CreatedMs: ms(t.now)}
			for _, id := range ids {
				d.Chosen = append(d.Chosen, id[:])
			}
			return t.remember(key, d)
		}
		chosen, replayed = make([]ID, len(d.Chosen)), true
		for i, raw := range d.Chosen {
			if chosen[i], err = IDOf(raw); err != nil {
				return err
			}
		}
		return nil
	}})
	return chosen, replayed, err
}
