// Package checkup says what is wrong with one sidecar, from what its admin listener answers:
// what `pannier status`, `check` and `top` print and the overview in a browser shows.
//
//	/v1/admin/status, agents, destinations, peers, xds, secrets, dead-letters
//	       │
//	       ▼ Look                              Findings            Attention
//	    Answers ──────────────────────────▶ ok, warning, error ──▶ what somebody should know
//
// It asks and changes nothing: what it finds is as old as the answers it was made of.
package checkup

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Answers are all that one sidecar says of itself at a moment.
type Answers struct {
	Status       Status
	Agents       Agents
	Destinations Destinations
	Peers        Peers
	XDS          XDS
	Dead         Dead // those without a successor, deadCounted of them at most
	Held         Dead // those that wait for an operator, likewise
	Secrets      Secrets
	DeadKinds    DeadKinds // instead of Dead and Held

	Late  []string                   // members that the sidecar reads from its disk, and has not given in time
	Lacks []string                   // members that this sidecar has no answer for, or none that is understood here
	Raw   map[string]json.RawMessage // the answers as they came, by member
}

// deadCounted is how many dead letters are counted before it is enough to say that there are many.
const deadCounted = 50

// Ask asks a sidecar for a path of its admin listener, until ctx ends. unknown says of an error
// that the sidecar has no such answer.
type Ask func(ctx context.Context, path string) (body []byte, unknown bool, err error)

// members are those of Answers that a look asks for, and inMemory those that a sidecar
// answers whatever its disk does.
var (
	members  = []string{"status", "agents", "destinations", "peers", "xds", "dead_letters", "waiting_for_operator", "secrets"}
	inMemory = []string{"status", "agents", "destinations", "peers", "xds", "dead_letter_groups"}
)

// Look asks a sidecar for all of it. Only that it cannot be asked is an error.
func Look(ctx context.Context, ask Ask) (*Answers, error) { return LookAt(ctx, ask, members...) }

// Glance asks for what the sidecar has in memory: secrets are left out, and dead letters
// are counted and not listed.
func Glance(ctx context.Context, ask Ask) (*Answers, error) { return LookAt(ctx, ask, inMemory...) }

// readsFor is how long to wait for what a sidecar reads from its disk: while that hangs, the rest is told.
const readsFor = 3 * time.Second

// LookAt asks for some of it. What a sidecar of another version does not know is left
// out, and said to be, as is what its disk does not give in time; one that knows nothing of
// it is none.
func LookAt(ctx context.Context, ask Ask, members ...string) (*Answers, error) {
	a := &Answers{Raw: map[string]json.RawMessage{}}
	var first error
	for _, one := range []struct {
		member, path string
		into         any
	}{
		{"status", "/v1/admin/status", &a.Status},
		{"agents", "/v1/admin/agents", &a.Agents},
		{"destinations", "/v1/admin/destinations", &a.Destinations},
		{"peers", "/v1/admin/peers", &a.Peers},
		{"xds", "/v1/admin/xds", &a.XDS},
		{"dead_letters", "/v1/admin/dead-letters?limit=50&redriven=false", &a.Dead},
		{"waiting_for_operator", "/v1/admin/dead-letters?limit=50&waiting=true", &a.Held},
		{"secrets", "/v1/admin/secrets", &a.Secrets},
		{"dead_letter_groups", "/v1/admin/dead-letters/groups", &a.DeadKinds},
	} {
		if !slices.Contains(members, one.member) {
			continue
		}
		fromDisk := !slices.Contains(inMemory, one.member)
		if fromDisk && len(a.Late) > 0 {
			a.Late = append(a.Late, one.member)
			continue
		}
		body, unknown, late, err := inTime(ctx, ask, one.path, fromDisk)
		if late {
			a.Late = append(a.Late, one.member)
			continue
		}
		if err != nil && !unknown {
			return nil, err
		}
		if err == nil {
			err = json.Unmarshal(body, one.into)
		}
		if err != nil {
			first = cmp.Or(first, err)
			a.Lacks = append(a.Lacks, one.member)
			continue
		}
		a.Raw[one.member] = body
	}
	if len(a.Raw) == 0 {
		return nil, first
	}
	return a, nil
}

// inTime asks for a path, and not for long where the answer is read from the disk.
func inTime(ctx context.Context, ask Ask, path string, fromDisk bool) (body []byte, unknown, late bool, err error) {
	if !fromDisk {
		body, unknown, err = ask(ctx, path)
		return body, unknown, false, err
	}
	short, cancel := context.WithTimeout(ctx, readsFor)
	defer cancel()
	body, unknown, err = ask(short, path)
	return body, unknown, err != nil && short.Err() != nil && ctx.Err() == nil, err
}
