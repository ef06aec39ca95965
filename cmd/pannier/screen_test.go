package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

// The flag beats NO_COLOR, that CLICOLOR_FORCE, and that the terminal, which the tests' output is not.
func TestColours(t *testing.T) {
	s := newSidecarDouble(t, answer{status: 200, body: `{"ok":true,"intents":[{"intent_id":"I","status":"COMPLETED"}]}`})
	for _, row := range []struct {
		flag, no, force string
		want            bool
	}{
		{"", "", "", false},
		{"auto", "", "", false},
		{"always", "", "", true},
		{"always", "1", "", true},
		{"never", "", "1", false},
		{"", "", "1", true},
		{"", "", "0", false},
		{"", "1", "1", false},
	} {
		t.Setenv("NO_COLOR", row.no)
		t.Setenv("CLICOLOR_FORCE", row.force)
		args := []string{"list", "--addr", s.addr}
		if row.flag != "" {
			args = append(args, "--color", row.flag)
		}
		got := pannier(t, "", args...)
		if coloured := strings.Contains(got.stdout, "\x1b[32mCOMPLETED\x1b[0m"); coloured != row.want || got.exit != 0 {
			t.Errorf("%+v: exit %d, stdout %q", row, got.exit, got.stdout)
		}
	}
	if got := pannier(t, "", "list", "--addr", s.addr, "--color", "pink"); got.exit != exitUsage || !strings.Contains(got.stderr, "--color pink") {
		t.Errorf("exit %d: %s", got.exit, got.stderr)
	}
}

// Colours take no room: columns are where they are without.
func TestColoursKeepColumns(t *testing.T) {
	t.Parallel()
	rows := func() [][]string { return [][]string{{"FAILED", "x"}, {"é", "y"}} }
	var plain, coloured strings.Builder
	if err := table(&plain, []string{"STATUS", "N"}, rows()); err != nil {
		t.Fatal(err)
	}
	if err := table(&screen{Writer: &coloured, colours: true}, []string{"STATUS", "N"}, rows()); err != nil {
		t.Fatal(err)
	}
	bare := strings.NewReplacer(string(faint), "", string(red), "", uncolour, "").Replace(coloured.String())
	if plain.String() != "STATUS  N\nFAILED  x\né       y\n" || bare != plain.String() || bare == coloured.String() {
		t.Errorf("plain\n%s\ncoloured\n%q", plain.String(), coloured.String())
	}
}

// A time is an age where a person looks, and what the API said in a pipe.
func TestWhen(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	person := &screen{Writer: io.Discard, terminal: true, now: now}
	for ago, want := range map[time.Duration]string{
		0: "0 s ago", 61 * time.Second: "61 s ago", 5 * time.Minute: "5 min ago", 3 * time.Hour: "3 h ago", 50 * time.Hour: "2 d ago",
		-90 * time.Second: "in 90 s", -time.Millisecond: "now",
	} {
		stamp := now.Add(-ago).Format(time.RFC3339Nano)
		if got := when(person, stamp); got != want {
			t.Errorf("%s ago is %q, want %q", ago, got, want)
		}
		if got := when(&screen{Writer: io.Discard, now: now}, stamp); got != stamp {
			t.Errorf("in a pipe, %s is %q", stamp, got)
		}
	}
	if got := when(person, "soon"); got != "soon" {
		t.Errorf("what is no time is %q", got)
	}
}

// -o ndjson is one line for each thing listed, and the answer where it lists nothing.
func TestLines(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ verb, body, stdout, stderr string }{
		{"list", `{"ok":true,"intents":[{"intent_id": "I"},{"intent_id":"J"}],"next_cursor":"C"}`, `{"intent_id":"I"}` + "\n" + `{"intent_id":"J"}` + "\n", "--cursor C"},
		{"list", `{"ok":true,"intents":[],"next_cursor":null}`, "", ""},
		{"get I", `{"ok":true, "intent":{"a":[1]}}`, `{"ok":true,"intent":{"a":[1]}}` + "\n", ""},
		{"get I", `{"ok":true,"a":[1],"b":[2]}`, `{"ok":true,"a":[1],"b":[2]}` + "\n", ""},
	} {
		s := newSidecarDouble(t, answer{status: 200, body: row.body})
		got := pannier(t, "", append(strings.Fields(row.verb), "-o", "ndjson", "--addr", s.addr)...)
		if got.exit != 0 || got.stdout != row.stdout || !strings.Contains(got.stderr, row.stderr) || (row.stderr == "") != (got.stderr == "") {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", row.verb, got.exit, got.stdout, got.stderr)
		}
	}
}

// What a sender has written steers no terminal, and reads as it was written.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"pay 1000 zł ✓":        "pay 1000 zł ✓",
		"\x1b[2J\u009b2J\r\n":  "\uFFFD[2J\uFFFD2J\uFFFD\uFFFD",
		"pay \u202e0001\u2066": "pay \uFFFD0001\uFFFD",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
