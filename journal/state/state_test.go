package state_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"pannier/journal/state"
)

// edge is a line of a picture: both tables are checked in the same way.
type edge struct{ from, on, to string }

func lifecycleEdges() (out []edge) {
	for _, r := range state.Rows() {
		out = append(out, edge{r.From.String(), r.On.String(), r.To.String()})
	}
	return out
}

func handoverEdges() (out []edge) {
	for _, r := range state.HandoverRows() {
		from := r.From.String()
		if r.From == state.Absent {
			from = "none"
		}
		out = append(out, edge{from, r.On.String(), r.To.String()})
	}
	return out
}

var tables = map[string]struct {
	edges    []edge
	start    string
	terminal []string
}{
	"lifecycle": {lifecycleEdges(), "NONE", []string{"COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"}},
	"handover":  {handoverEdges(), "none", []string{"answered", "rejected", "released", "revoked"}},
}

func TestNoPairHasTwoRows(t *testing.T) {
	for name, table := range tables {
		seen := map[[2]string]bool{}
		for _, e := range table.edges {
			pair := [2]string{e.from, e.on}
			if seen[pair] {
				t.Errorf("%s: %s has two rows for %s", name, e.from, e.on)
			}
			seen[pair] = true
		}
	}
}

func TestNothingLeavesAnEnd(t *testing.T) {
	for name, table := range tables {
		for _, e := range table.edges {
			if slices.Contains(table.terminal, e.from) {
				t.Errorf("%s: %s leaves %s for %s", name, e.on, e.from, e.to)
			}
		}
	}
}

// reach returns every state that can be reached from start.
func reach(edges []edge, start string) map[string]bool {
	seen := map[string]bool{start: true}
	for grew := true; grew; {
		grew = false
		for _, e := range edges {
			if seen[e.from] && !seen[e.to] {
				seen[e.to], grew = true, true
			}
		}
	}
	return seen
}

func TestEveryStateIsReachable(t *testing.T) {
	for name, table := range tables {
		got := reach(table.edges, table.start)
		for _, e := range table.edges {
			if !got[e.from] {
				t.Errorf("%s: %s cannot be reached", name, e.from)
			}
		}
	}
	lifecycle := reach(tables["lifecycle"].edges, "NONE")
	for _, s := range state.Statuses() {
		if !lifecycle[s.String()] {
			t.Errorf("lifecycle: %s cannot be reached", s)
		}
	}
	handover := reach(tables["handover"].edges, "none")
	for _, p := range state.Phases() {
		if !handover[p.String()] {
			t.Errorf("handover: %s cannot be reached", p)
		}
	}
}

func TestNoStateIsATrap(t *testing.T) {
	for name, table := range tables {
		for _, e := range table.edges {
			ends := false
			for s := range reach(table.edges, e.to) {
				ends = ends || slices.Contains(table.terminal, s)
			}
			if !ends {
				t.Errorf("%s: from %s no end can be reached", name, e.to)
			}
		}
	}
}

func TestEveryTriggerHasARow(t *testing.T) {
	for _, trigger := range state.Triggers() {
		if !slices.ContainsFunc(state.Rows(), func(r state.Row) bool { return r.On == trigger }) {
			t.Errorf("lifecycle: nothing happens on %s", trigger)
		}
	}
	for _, m := range state.Moves() {
		if !slices.ContainsFunc(state.HandoverRows(), func(r state.HandoverRow) bool { return r.On == m }) {
			t.Errorf("handover: nothing happens on %s", m)
		}
	}
}

// TestPictureHasExactlyTheseEdges reads the drawing in doc.go. What it says in
// words is spelled out here: triggers that keep the status are not drawn, any
// open status fails, is canceled or times out, and answer and revoke are
// possible in every open phase.
func TestPictureHasExactlyTheseEdges(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^//\t(\w+) +--(\w+)--> +(\w+)$`)
	drawn := map[edge]bool{}
	for _, m := range line.FindAllStringSubmatch(string(doc), -1) {
		drawn[edge{m[1], m[2], m[3]}] = true
	}
	for _, s := range []string{"CREATED", "SUBMITTED", "DELIVERED", "ACKNOWLEDGED", "IN_PROGRESS", "WAITING"} {
		drawn[edge{s, "fail", "FAILED"}] = true
		drawn[edge{s, "cancel", "CANCELED"}] = true
		drawn[edge{s, "expire", "TIMED_OUT"}] = true
	}
	for _, p := range []string{"ready", "leased", "working", "parked", "spent"} {
		drawn[edge{p, "answer", "answered"}] = true
		drawn[edge{p, "revoke", "revoked"}] = true
	}
	drawn[edge{"NONE", "accept", "CREATED"}] = true
	inTable := map[edge]bool{}
	for _, e := range lifecycleEdges() {
		if e.from != e.to {
			inTable[e] = true
		}
	}
	for _, e := range handoverEdges() {
		inTable[e] = true
	}
	for _, e := range difference(drawn, inTable) {
		t.Errorf("drawn, but no row: %v", e)
	}
	for _, e := range difference(inTable, drawn) {
		t.Errorf("a row, but not drawn: %v", e)
	}
}

func difference(a, b map[edge]bool) (out []string) {
	for e := range a {
		if !b[e] {
			out = append(out, fmt.Sprintf("%s --%s--> %s", e.from, e.on, e.to))
		}
	}
	sort.Strings(out)
	return out
}

func TestAnswerPassesInProgress(t *testing.T) {
	for _, s := range state.Statuses() {
		if !s.Open() || s == state.Created {
			continue
		}
		rows := state.Path(s, state.Complete)
		if len(rows) == 0 {
			t.Errorf("%s: an answer is refused", s)
			continue
		}
		last := rows[len(rows)-1]
		if last.From != state.InProgress || last.To != state.Completed {
			t.Errorf("%s: completes from %s", s, last.From)
		}
	}
}

func TestNamesAreWordsOfAXP(t *testing.T) {
	for _, s := range state.Statuses() {
		got, ok := state.ParseStatus(s.String())
		if !ok || got != s {
			t.Errorf("%s is not read back", s)
		}
	}
	if s, ok := state.ParseStatus("CANCELLED"); !ok || s != state.Canceled {
		t.Errorf("CANCELLED: got %s", s)
	}
	for _, r := range state.Rows() {
		if !strings.HasPrefix(r.Event.String(), "intent.") {
			t.Errorf("event %s does not begin with intent.", r.Event)
		}
	}
}
