package journal

import (
	"context"
	"encoding/json"

	"pannier/journal/wire"
)

// maxApprovals bounds the decisions that are kept of ids that name nothing here.
const maxApprovals = 10_000

// RecordApproval keeps a decision on an id that names nothing here. The first counts: the
// same again is answered as it was, and another is refused.
func (j *Journal) RecordApproval(ctx context.Context, id ID, d *wire.Decision, key *Key) (kept *wire.Decision, replayed bool, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		var was wire.Approval
		found, err := t.get(idKey(classApproval, id), &was)
		if err != nil {
			return err
		}
		thing, err := t.once(key, id[:])
		if err != nil {
			return err
		}
		if replayed = thing != nil; replayed || found && was.Decision.Decision == d.Decision {
			kept = was.Decision
			return nil
		}
		if found {
			return decidedAs(was.Decision)
		}
		if t.j.approvals >= maxApprovals {
			return ErrTooMany
		}
		t.after(func() { j.approvals++ })
		d.AtMs = ms(t.now)
		kept = d
		return t.put(idKey(classApproval, id), &wire.Approval{Decision: d})
	}})
	return kept, replayed, err
}

// countApprovals does so at the start; the committer goes on, batch by batch.
func (j *Journal) countApprovals(txn *page) error {
	eachKey(txn, []byte{classApproval}, nil, func([]byte) (more bool) { j.approvals++; return true })
	return nil
}

// details writes an object of texts, those that are empty left out.
func details(pairs ...string) []byte {
	d := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			d[pairs[i]] = pairs[i+1]
		}
	}
	body, err := json.Marshal(d)
	if err != nil {
		panic(err) // texts always encode
	}
	return body
}
