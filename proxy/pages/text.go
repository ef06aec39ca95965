package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// shown is how much of a payload a page has; the rest can be saved.
	shown = 64 << 10
	// maxRows is how many members of a payload are drawn as a table.
	maxRows = 60
	// maxDeep is how deep a payload is indented: beyond, the indent would be most of it.
	maxDeep = 24
)

// plain makes text harmless to the eye: what would turn the direction of what follows,
// hide, or end the line is shown as its code. Markup is the templates' to escape.
func plain(s string) string {
	if strings.IndexFunc(s, unseen) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteString("⟨bad UTF-8⟩")
		case unseen(r):
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unseen are controls but the line feed, and all of Unicode's category Cf, which has what
// turns directions (U+202A to E, U+2066 to 9), joins and hides.
func unseen(r rune) bool {
	return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029')
}

// cut returns the beginning of text, and how many bytes are left out.
func cut(s string, most int) (string, int) {
	if len(s) <= most {
		return s, 0
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], len(s) - n
}

// member is one of a payload's, as a row of a table.
type member struct {
	Name, Value string
	Block       bool // it has lines
}

// payload is one as it is shown.
type payload struct {
	Rows []member // of an object that is small and flat enough
	Text string   // otherwise: indented
	Left int      // bytes that are not shown
	Size int
}

func showPayload(raw json.RawMessage) *payload {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	p := &payload{Size: len(raw)}
	if len(raw) <= shown {
		if rows, ok := rowsOf(raw); ok {
			p.Rows = rows
			return p
		}
	}
	var text string
	if len(raw) > shown || depth(raw) > maxDeep {
		text = string(raw)
	} else {
		text = indented(raw)
	}
	text, p.Left = cut(text, shown)
	p.Text = plain(text)
	return p
}

func rowsOf(raw json.RawMessage) ([]member, bool) {
	members, ok := orderedMembers(raw)
	if !ok || len(members) == 0 || len(members) > maxRows || depth(raw) > maxDeep {
		return nil, false
	}
	rows := make([]member, 0, len(members))
	for _, m := range members {
		row := member{Name: plain(m.name)}
		var s string
		switch {
		case json.Unmarshal(m.value, &s) == nil && string(m.value) != "null":
			row.Value, row.Block = plain(s), strings.Contains(s, "\n")
		case m.value[0] == '{' || m.value[0] == '[':
			row.Value, row.Block = plain(indented(m.value)), true
		default:
			row.Value = plain(string(m.value))
		}
		rows = append(rows, row)
	}
	return rows, true
}

// named is a member of an object, in its place.
type named struct {
	name  string
	value json.RawMessage
}

// orderedMembers are the members of an object as they stand there.
func orderedMembers(raw json.RawMessage) (all []named, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		t, err := d.Token()
		name, isName := t.(string)
		if err != nil || !isName {
			return nil, false
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, false
		}
		all = append(all, named{name, v})
	}
	return all, true
}

func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return string(raw)
	}
	return b.String()
}

// depth is how deep a value is nested.
func depth(raw []byte) (most int) {
	now, inside := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '{' || c == '[':
			now++
			most = max(most, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return most
}

// ago is a time as people say it; the page has the exact one beside it.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "–"
	}
	d := now.Sub(at)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/day)
}

// words is a code as people read it: changes_requested is "Changes requested".
func words(code string) string { return capital(strings.ReplaceAll(code, "_", " ")) }

// capital is a text as a sentence begins.
func capital(s string) string {
	s = plain(s)
	if s == "" {
		return s
	}
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// short is an address without what each has.
func short(agent string) string { return plain(strings.TrimPrefix(agent, "agent://")) }
