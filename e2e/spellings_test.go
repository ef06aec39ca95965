package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// spelling is one way to write what may be an address.
type spelling struct {
	text  string
	agent string // whose it is, in one form; empty: nobody's, and it must be refused
	how   string
}

// alike are agents of one sidecar that differ by little. Each is somebody else.
var alike = []string{"acme/prod/billing", "acme/prod/Billing", "acme/prod/bi11ing", "acme/billing", "billing", "acme/prod/billing/intents"}

// lookalikes of ASCII letters: Cyrillic, Greek, wide, and others.
var lookalikes = map[rune]string{'a': "аαａ", 'c': "сϲｃ", 'i': "іıι", 'l': "Iӏｌ", 'o': "оο０", 'p': "рρｐ", 'g': "ɡｇ", 'n': "ոｎ", '/': "∕⁄／", 'r': "ｒ", 'd': "ԁｄ", 'm': "ｍ", 'e': "еｅ"}

// respell writes one of those who are alike in another way, chosen by rnd.
func respell(rnd *rand.Rand, base string) spelling {
	at := rnd.IntN(len(base))
	insert := func(s string) string { return base[:at] + s + base[at:] }
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	full := inFull(base)
	switch rnd.IntN(9) {
	case 0:
		return spelling{base, full, "as it is"}
	case 1:
		return spelling{"agent://" + base, full, "with its scheme"}
	case 2: // what differs in case, or by what an address may have, is another agent
		other := []rune(base)
		for other[at] == unicode.ToUpper(other[at]) {
			at = rnd.IntN(len(base))
		}
		other[at] = unicode.ToUpper(other[at])
		return spelling{string(other), inFull(string(other)), "another case"}
	case 3:
		other := base + pick(".", "_", "~", "@", "+", "-", "0", "/x", "s")
		return spelling{other, inFull(other), "something behind it"}
	case 4:
		return spelling{"initiator://" + base, "initiator://" + base, "another scheme"}
	case 5:
		for {
			for old, looks := range lookalikes {
				if all := []rune(looks); strings.ContainsRune(base, old) {
					if r := all[rnd.IntN(len(all))]; r > unicode.MaxASCII {
						return spelling{strings.Replace(base, string(old), string(r), 1), "", "a letter that looks alike"}
					}
				}
			}
		}
	case 6:
		return spelling{insert(pick("\u200b", "\u200d", "\ufeff", "\u00ad", "\u0301", "\u202e", "\u2060")), "", "something invisible"}
	case 7:
		return spelling{pick(" "+base, base+" ", base+"\t", base+"\n", base+"\x00", insert("\u00a0")), "", "space"}
	default:
		return spelling{pick(base+"/", "/"+base, base+"/.", "../"+base, base+"//x", "x/../"+base, "AGENT://"+base, "agent:/"+base,
			"agent:///"+base, "agent://agent://"+base, insert("%62"), insert("%"), base+"?x", base+"#x", base+";x", base+":443", base+"=poll"), "", "no address"}
	}
}

// TestSpellings: however an address is written, and wherever, it is the same agent
// everywhere, or another one everywhere, or refused everywhere by the name of what is wrong;
// and nobody is handed what was sent to another.
func TestSpellings(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	holder := newSidecar(t, setup{name: "holder"})
	listed := map[string][]string{}
	for _, base := range alike {
		holder.set.agents = append(holder.set.agents, either(rnd, base))
		listed[either(rnd, base)] = []string{holder.peer}
	}
	home := newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, listed)})
	home.launch()
	holder.launch()
	twice := newSidecar(t, setup{name: "twice", agents: []string{"acme/prod/billing", "agent://acme/prod/billing"}})
	twice.launch()
	home.awaitReady()
	holder.awaitReady()

	sent := map[string]map[string]bool{} // by agent
	kinds := map[string]int{}
	for n := range 120 {
		s := respell(rnd, alike[rnd.IntN(len(alike))])
		if n == 0 { // what only a second decoding makes an address of
			s = spelling{strings.Replace(alike[0], "b", "%62", 1), "", "no address"}
		}
		kinds[s.how]++
		for _, id := range home.sendEachWay(rnd, s) {
			if sent[s.agent] == nil {
				sent[s.agent] = map[string]bool{}
			}
			sent[s.agent][id] = true
		}
	}
	elsewhere := map[string]bool{}
	for _, base := range alike {
		elsewhere[inFull(base)] = true
	}
	handed := 0
	for agent, ids := range sent {
		at := home // who is nobody elsewhere is whoever asks for it here
		if elsewhere[agent] {
			at = holder
		}
		handed += at.takeAll(rnd, agent, ids)
	}
	for _, base := range alike {
		holder.takeNothing(either(rnd, base), 0)
	}
	twice.awaitExit()
	if code := twice.proc.cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(twice.stderr(), "listed twice") {
		t.Errorf("one agent under two spellings: exit code %d:\n%s", code, twice.stderr())
	}
	t.Logf("figure: 120 spellings, %d intents to %d agents, each handed to its own: %v", handed, len(sent), kinds)
}

// inFull is an address in full.
func inFull(base string) string {
	if strings.Contains(base, "/") {
		return "agent://" + base
	}
	return base
}

// either of the two forms of an address.
func either(rnd *rand.Rand, base string) string {
	if rnd.IntN(2) == 0 {
		return base
	}
	return "agent://" + base
}

// inPath escapes an address for a path, and at random what need not be.
func inPath(rnd *rand.Rand, text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if plain := c < 0x80 && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || c == '/'); plain && rnd.IntN(4) > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// sendEachWay sends to one spelling by each way there is to name a receiver, and returns the
// ids; there are none where it is nobody's.
func (s *sidecar) sendEachWay(rnd *rand.Rand, to spelling) (ids []string) {
	s.t.Helper()
	ways := map[string]struct {
		do    func() answer
		names string
	}{
		"body": {func() answer { return s.call("POST", "/v1/intents", message(to.text, map[string]any{})) }, "to_agent"},
		"batch": {func() answer {
			return s.call("POST", "/v1/intents:batch", map[string]any{"intents": []any{message(to.text, map[string]any{})}})
		}, "to_agent"},
		"path": {func() answer {
			return s.call("POST", "/v1/agents/"+inPath(rnd, to.text)+"/intents/a.v1", map[string]any{})
		}, "address"},
		"event": {func() answer {
			return s.call("POST", "/v1/intents", map[string]any{}, "Ce-Specversion", "1.0", "Ce-Id", fmt.Sprint(rnd.Int64()), "Ce-Source", "x", "Ce-Type", "a.v1", "Ce-Subject", url.PathEscape(to.text))
		}, "subject"},
	}
	for _, way := range slices.Sorted(maps.Keys(ways)) {
		a := ways[way].do()
		var doc struct {
			ID      string `json:"intent_id"`
			Results []struct {
				ID string `json:"intent_id"`
			}
		}
		json.Unmarshal(a.body, &doc) // not JSON: no id
		if len(doc.Results) == 1 {
			doc.ID = doc.Results[0].ID
		}
		switch {
		case a.err != nil || (a.code != http.StatusOK && a.code != http.StatusUnprocessableEntity && a.code != http.StatusBadRequest):
			s.t.Errorf("%s to %q (%s): %v", way, to.text, to.how, a)
		case to.agent == "" && doc.ID != "":
			s.t.Errorf("%s to %q (%s) is taken, for %s", way, to.text, to.how, s.get(doc.ID).To)
		case to.agent == "" && !strings.Contains(string(a.body), ways[way].names):
			s.t.Errorf("%s to %q (%s): the refusal does not name %s: %s", way, to.text, to.how, ways[way].names, a.body)
		case to.agent != "" && doc.ID == "":
			s.t.Errorf("%s to %q (%s) is refused: %v", way, to.text, to.how, a)
		case to.agent != "":
			if got := s.get(doc.ID).To; got != to.agent {
				s.t.Errorf("%s to %q (%s) is for %s, want %s", way, to.text, to.how, got, to.agent)
			}
			ids = append(ids, doc.ID)
		}
	}
	if to.agent == "" {
		if a := s.call("GET", "/v1/agents/"+inPath(rnd, to.text)+"/intents", nil); a.code != http.StatusUnprocessableEntity {
			s.t.Errorf("poll of %q (%s): %v", to.text, to.how, a)
		}
	}
	return ids
}

// takeAll polls under spellings of an agent until all that was sent to it has come, and
// wants nothing else.
func (s *sidecar) takeAll(rnd *rand.Rand, agent string, ids map[string]bool) (n int) {
	s.t.Helper()
	base := strings.TrimPrefix(agent, "agent://")
	eventually(s.t, "all that is for "+agent, func() error {
		written := base
		if !strings.Contains(base, "://") {
			written = either(rnd, base)
		}
		var doc struct{ Intents []item }
		s.call("GET", "/v1/agents/"+inPath(rnd, written)+"/intents?limit=100&wait_seconds=1&lease_seconds=600", nil).into(s.t, &doc)
		for _, it := range doc.Intents {
			if !ids[it.ID] || it.To != agent {
				s.t.Errorf("%s, polled as %q, was handed %s for %s", agent, written, it.ID, it.To)
			}
			s.ack(it, nil)
			n++
		}
		if n < len(ids) {
			return fmt.Errorf("%d of %d", n, len(ids))
		}
		return nil
	})
	return n
}
