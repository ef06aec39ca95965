package e2e_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// step is one command of a transcript and what the README says it prints.
type step struct {
	line    int
	command string
	prints  []string
	picture string // no command: people act in a browser, and this is what they saw
}

// TestReadmeTranscript replays the README's console blocks, in order and in
// one shell, beside a real `pannier dev`. What changes from run to run (ids,
// times) is compared by its form; "…" stands for any text, and a line of
// nothing else for any lines. Where it has a picture, people do in a browser what that shows.
func TestReadmeTranscript(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := transcript(string(text))
	if len(steps) == 0 {
		t.Fatal("no console block with a command in README.md")
	}
	d := startDev(t)
	sh := d.shell()
	ran := 0
	for _, st := range steps {
		switch {
		case st.picture != "":
			d.play(t, st.picture)
		case strings.Contains(st.command, "pannier dev"):
			compareOutput(t, st, readAll(d.out))
		case strings.Contains(st.command, "e2e/run"), strings.Contains(st.command, "git clone"):
			// this very suite, and how the reader came here
		default:
			out, code := sh.run(st.command)
			if ran++; code != 0 {
				t.Errorf("README.md:%d: %s\nexit code %d: %s", st.line, st.command, code, out)
			}
			compareOutput(t, st, out)
		}
	}
	if ran == 0 {
		t.Error("no command of the README was run")
	}
}

// transcript reads the ```console blocks: "$ " begins a command, "> " goes on
// with it, anything else is output.
func transcript(text string) (steps []step) {
	inside := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case !inside:
			inside = strings.TrimSpace(line) == "```console"
			if m := picture.FindStringSubmatch(line); m != nil {
				steps = append(steps, step{line: i + 1, picture: m[2]})
			}
		case strings.HasPrefix(line, "```"):
			inside = false
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: i + 1, command: line[2:]})
		case len(steps) == 0:
		case strings.HasPrefix(line, "> ") && len(steps[len(steps)-1].prints) == 0:
			steps[len(steps)-1].command += "\n" + line[2:]
		case strings.HasSuffix(steps[len(steps)-1].command, "\\"):
			steps[len(steps)-1].command += "\n" + line
		default:
			steps[len(steps)-1].prints = append(steps[len(steps)-1].prints, line)
		}
	}
	return steps
}

func compareOutput(t *testing.T, st step, out string) {
	t.Helper()
	got := strings.Split(strings.Trim(out, "\n"), "\n")
	want := st.prints
	for len(want) > 0 && want[len(want)-1] == "" {
		want = want[:len(want)-1]
	}
	if len(want) == 0 {
		return // the README shows no output of it
	}
	if !linesMatch(want, got) {
		t.Errorf("README.md:%d: %s\nprints\n%s\nthe README says\n%s", st.line, st.command, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func linesMatch(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if any := strings.TrimSpace(want[0]); any == "…" || any == "..." {
		for i := range len(got) + 1 {
			if linesMatch(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && lineMatches(want[0], got[0]) && linesMatch(want[1:], got[1:])
}

// variable are the parts that differ in each run, by their form.
var variable = []struct {
	form *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`[0-9a-f]{32}`), "HEX"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d(\.\d+)?\b`), "CLOCK"},
	{regexp.MustCompile(`\d+(\.\d+)? ?(ms|s)\b`), "SPAN"},
}

func lineMatches(want, got string) bool {
	for _, v := range variable {
		want = v.form.ReplaceAllString(want, v.name)
		got = v.form.ReplaceAllString(got, v.name)
	}
	var pattern strings.Builder
	for i, part := range strings.Split(want, "…") {
		if i > 0 {
			pattern.WriteString(".*")
		}
		pattern.WriteString(regexp.QuoteMeta(part))
	}
	return regexp.MustCompile("^" + pattern.String() + "$").MatchString(strings.TrimRight(got, " "))
}

// What the replay accepts and what it does not.
func TestTranscriptIsCompared(t *testing.T) {
	t.Parallel()
	steps := transcript("text\n```console\n$ one \\\n  two\nid 01890a5d-ac96-774b-bcce-b302099a8057\n\n$ three\n…\nlast in 0.41 s\n```\n$ not a command\n")
	if len(steps) != 2 || steps[0].command != "one \\\n  two" || steps[1].line != 7 {
		t.Fatalf("read %+v", steps)
	}
	for name, row := range map[string]struct {
		want, got string
		same      bool
	}{
		"equal":             {"a", "a", true},
		"different":         {"a", "b", false},
		"another id":        {"id 01890a5d-ac96-774b-bcce-b302099a8057", "id 11890a5d-ac96-774b-bcce-b302099a8057", true},
		"no id":             {"id 01890a5d-ac96-774b-bcce-b302099a8057", "id none", false},
		"another time":      {"at 2026-11-23T18:00:00Z", "at 2026-11-23T19:00:00.123Z", true},
		"ellipsis in line":  {`{"ok":true,…}`, `{"ok":true,"n":1}`, true},
		"ellipsis of lines": {"a\n…\nz", "a\nb\nc\nz", true},
		"too few lines":     {"a\nb", "a", false},
		"too many lines":    {"a", "a\nb", false},
	} {
		if got := linesMatch(strings.Split(row.want, "\n"), strings.Split(row.got, "\n")); got != row.same {
			t.Errorf("%s: %v, want %v", name, got, row.same)
		}
	}
}
