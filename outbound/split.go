package outbound

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"

	"pannier/journal"
)

// parts are places in the journal's index of one destination, as bits: one for
// each share of its split, and one for our own mailbox, which takes of every
// share. Without a split all is one part.
type parts uint32

const (
	everyPart = ^parts(0)

	// strayPart is read for one intent of whatever share, after the cursors went
	// back to it; nothing waits in it.
	strayPart = SplitMost
	localPart = SplitMost + 1
)

func (p parts) has(n int) bool { return p&(1<<n) != 0 }

// adopt takes over a policy. A changed split divides anew what has been passed
// over. Called with mu held.
func (d *Dispatcher) adopt(dst *dest, p Policy, local bool) {
	if len(p.Split) > SplitMost || total(p.Split) == 0 {
		p.Split = nil
	}
	if !slices.Equal(p.Split, dst.policy.Split) {
		d.journal.Rewind(dst.agent, epoch)
		dst.parts = 0
	}
	dst.policy = p
	there := parts(1)
	if len(p.Split) > 0 {
		there = 0
		for i, s := range p.Split {
			if s.Weight > 0 {
				there |= 1 << i
			}
		}
		if local {
			there |= 1 << localPart
		}
	}
	dst.more = (dst.more | there&^dst.parts) & there // nobody has looked into a new one
	dst.parts = there
}

func total(split []Share) (n int) {
	for _, s := range split {
		n += max(0, s.Weight)
	}
	return n
}

// shareOf is the share an intent falls to: its id, spread evenly over the sum of
// the weights. The same split gives the same share on every sidecar and after
// every restart.
func shareOf(id journal.ID, split []Share) int {
	sum := sha256.Sum256(id[:])
	at, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), uint64(total(split)))
	for i, s := range split {
		if at < uint64(max(0, s.Weight)) {
			return i
		}
		at -= uint64(max(0, s.Weight))
	}
	return len(split) - 1
}

// mayGo reports whether the split lets an intent go to an endpoint.
func mayGo(id journal.ID, split []Share, o Endpoint) bool {
	return len(split) == 0 || split[shareOf(id, split)].Subset == o.Subset
}

// subset leaves the options of one subset.
func subset(options []option, name string) (some []option) {
	for _, o := range options {
		if o.Subset == name {
			some = append(some, o)
		}
	}
	return some
}
