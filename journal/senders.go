package journal

import (
	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// Senders lists the agents in whose name a home has sent what we have from it,
// and what we have reports about that it has not acked. Completions are not
// among it: they are in nobody's name but home's.
func (j *Journal) Senders(home ID) ([]string, error) {
	listed, err := j.Holding(home)
	if err != nil {
		return nil, err
	}
	ids := map[ID]struct{}{}
	for _, h := range listed {
		ids[h.ID] = struct{}{}
	}
	agents := map[string]struct{}{}
	err = j.view(func(txn *badger.Txn) error {
		err := eachRecord(txn, idKey(classReport, home), func() *wire.Report { return &wire.Report{} }, func(_ []byte, r *wire.Report) {
			ids[ID(r.Id)] = struct{}{}
		})
		if err != nil {
			return err
		}
		for id := range ids {
			blob, found, err := readEnvelope(txn, id)
			if err != nil {
				return err
			}
			var e wire.Envelope
			if err := proto.Unmarshal(blob, &e); err != nil {
				return &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
			}
			if found && len(e.CompletionOf) == 0 {
				agents[e.FromAgent] = struct{}{}
			}
		}
		return nil
	})
	out := make([]string, 0, len(agents))
	for a := range agents {
		out = append(out, a)
	}
	return out, err
}
