package proxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pannier/journal"
	"pannier/proxy/admin"
)

// copiesCheck is of the journals, ours and those of peers, that are proven to be older copies of
// themselves. Intents are accepted all the same, and flow to and from the other peers.
func (r *run) copiesCheck() admin.Check {
	found := map[string]*journal.OldCopy{}
	if p := r.parts.Load(); p != nil {
		maps.Copy(found, p.server.OldCopies())
		maps.Copy(found, p.dispatcher.OldCopies())
	}
	return copiesCheck(r.journal.Identity().Journal, found)
}

// copiesNamed is how many peers a check names; of the others it says how many there are.
const copiesNamed = 3

// copiesCheck says what to do, and to which sidecar: an operator who takes one for the other
// begins an epoch that nothing asks for, or gives up what a peer holds. found is by the address of
// the peer that nothing is exchanged with.
func copiesCheck(self journal.ID, found map[string]*journal.OldCopy) admin.Check {
	var mine, theirs []string
	for _, address := range slices.Sorted(maps.Keys(found)) {
		if old := found[address]; old.Journal == self {
			mine = append(mine, address)
		} else {
			theirs = append(theirs, fmt.Sprintf("%s (journal %s)", address, old.Journal))
		}
	}
	var says []string
	if len(mine) > 0 {
		says = append(says, fmt.Sprintf("THIS sidecar's journal was put back to an older copy of itself, and nothing is exchanged with %s: stop it and start it once with --accept-loss", few(mine)))
	}
	if len(theirs) > 0 {
		says = append(says, fmt.Sprintf("nothing is exchanged with %s, whose journal was put back to an older copy of itself: stop that sidecar, and not this one, and start it once with --accept-loss", few(theirs)))
	}
	return admin.Check{Name: "copies", OK: len(says) == 0, Advice: true, Detail: strings.Join(says, "; ")}
}

// few names the first of many.
func few(names []string) string {
	if len(names) <= copiesNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:copiesNamed], ", "), len(names)-copiesNamed)
}
