package timetable_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"pannier/journal/timetable"
)

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func cron(t *testing.T, expression, zone string) timetable.Table {
	t.Helper()
	if _, err := timetable.Zone(zone); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	table, err := timetable.Cron(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Berlin puts its clocks forward at 02:00 on 29 March 2026, and back at 03:00 on 25
// October.
func TestClocksPutForwardAndBack(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, cron, zone, from string
		want                   []string
	}{
		{"plain", "30 2 * * *", "UTC", "2026-03-28T03:00:00Z", []string{"2026-03-29T02:30:00Z", "2026-03-30T02:30:00Z"}},
		{"skipped: as long after the jump", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"}},
		{"skipped and the one after it are one", "30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-30T01:30:00Z"}},
		{"comes twice: the first time alone", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"after it came twice", "0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"}},
		{"passing time, forward", "*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29:00Z",
			[]string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
		{"passing time, back", "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:29:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"}},
		{"the hour that comes twice is two hours", "@hourly", "Europe/Berlin", "2026-10-24T23:30:00Z",
			[]string{"2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"}},
		{"half an hour's jump", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", // 02:00 to 02:30 on the 4th
			[]string{"2026-10-03T15:45:00Z", "2026-10-04T15:15:00Z"}},
		{"the 31st", "0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", []string{"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"}},
		{"29 February", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"weekdays", "0 9 * * 1-5", "America/New_York", "2026-11-27T15:00:00Z", []string{"2026-11-30T14:00:00Z"}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			table, at := cron(t, row.cron, row.zone), moment(t, row.from)
			for _, want := range row.want {
				if at = table.Next(at); !at.Equal(moment(t, want)) {
					t.Fatalf("next is %s, want %s", at.UTC().Format(time.RFC3339), want)
				}
			}
		})
	}
}

// A year of each expression goes forward only, and Last finds what Next has walked to.
func TestLastIsWhereNextCame(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{"30 2 * * *", "*/45 * * * *", "0 */7 * * *", "5 4 1 * *"} {
		table, due := cron(t, expression, "Europe/Berlin"), moment(t, "2026-01-01T04:00:00Z")
		start := table.Next(due)
		due = start
		for n := range 1000 {
			next := table.Next(due)
			if !next.After(due) {
				t.Fatalf("%s: after %s comes %s", expression, due, next)
			}
			if n%97 == 0 {
				if last := table.Last(start, next.Add(-time.Second)); !last.Equal(due) {
					t.Fatalf("%s: last before %s is %s, want %s", expression, next, last, due)
				}
			}
			due = next
		}
	}
	every, start := timetable.Every(7*time.Second), moment(t, "2026-01-01T00:00:00Z")
	if last := every.Last(start, start.Add(20*time.Second)); !last.Equal(start.Add(14 * time.Second)) {
		t.Errorf("every 7 s: last within 20 s is %s", last)
	}
}

func TestExpressionsThatAreNone(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"":                        "is not minute",
		"* * * *":                 "is not minute",
		"* * * * * *":             "is not minute",
		"@always":                 "is not minute",
		"@5minutes":               "is not minute",
		"61 * * * *":              "not a cron expression",
		"a b c d e":               "not a cron expression",
		"0 0 30 2 *":              "never comes",
		strings.Repeat("1,", 200): "limit",
	} {
		if _, err := timetable.Cron(text, ""); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.20q: %v, want %q", text, err, why)
		}
	}
	for _, zone := range []string{"Local", "Mars/Olympus", "../etc/passwd"} {
		if _, err := timetable.Cron("@daily", zone); err == nil {
			t.Errorf("zone %q is taken", zone)
		}
	}
}
