package main

import (
	"encoding/json"
	"strings"
	"testing"

	"pannier/journal/state"
	"pannier/proxy/admin"
	"pannier/proxy/api"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		args   string
		exit   int
		stdout []string
		stderr []string
	}{
		{"explain lease_lost", 0, []string{"error, status 409, category validation", "no: the same request fails again", "extend it in time."}, nil},
		{"explain draining", 0, []string{"error, status 503", "yes\n"}, nil},
		{"explain no_reader", 0, []string{"why an intent waits", "No app has asked", "See whether the app runs"}, nil},
		{"explain rejected", 0, []string{"why an attempt or an intent ended", "pannier dlq redrive"}, nil},
		{"explain expired", 0, []string{"deliver_by or its deadline_at"}, nil},
		{"explain sidecar_fault", 0, []string{"error, status 500", "has set it aside"}, nil},
		{"explain LEASE-LOST", exitNotFound, nil, []string{"did you mean lease_lost?", "[unknown_code]"}},
		{"explain lease_lots", exitNotFound, nil, []string{"did you mean lease_lost?"}},
		{"explain xyzzyplugh", exitNotFound, nil, []string{"pannier explain lists all"}},
		{"explain 01890a5d-ac96-774b-bcce-b302099a8057", exitNotFound, nil, []string{"pannier why 01890a5d"}},
		{"explain a b", exitUsage, nil, []string{"one code, got 2"}},
	} {
		got := pannier(t, "", strings.Fields(row.args)...)
		if got.exit != row.exit || (row.exit != 0) != (got.stdout == "") {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want %d", row.args, got.exit, got.stdout, got.stderr, row.exit)
		}
		for _, want := range row.stdout {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%s: stdout %q does not contain %q", row.args, got.stdout, want)
			}
		}
		for _, want := range row.stderr {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%s: stderr %q does not contain %q", row.args, got.stderr, want)
			}
		}
	}
}

// TestExplainKnowsEveryCode: what the sidecar may say is explained, alone and
// in the list.
func TestExplainKnowsEveryCode(t *testing.T) {
	t.Parallel()
	list := pannier(t, "", "explain").stdout
	check := func(code string, parts ...string) {
		if !strings.Contains(list, "\n"+code+" ") {
			t.Errorf("the list does not have %s", code)
		}
		got := pannier(t, "", "explain", code)
		for _, part := range parts {
			if !strings.Contains(got.stdout, part) {
				t.Errorf("explain %s prints %q, and not %q", code, got.stdout, part)
			}
		}
	}
	for _, e := range api.Codes() {
		check(e.Code, e.Title, e.Means, e.Remedy)
	}
	for _, e := range admin.Codes() {
		check(e.Code, e.Title, e.Means, e.Remedy)
	}
	for _, r := range state.Reasons() {
		check(r.String(), r.Sentence(), r.Remedy())
		if class := r.DeadLetter(); class != "" {
			check(class, "it is a dead letter")
		}
	}
	for _, c := range state.Causes() {
		check(c.String(), c.Sentence(), c.Remedy())
	}
	var all []explanation
	if err := json.Unmarshal([]byte(pannier(t, "", "explain", "-o", "json").stdout), &all); err != nil {
		t.Fatal(err)
	}
	if want := len(api.Codes()) + len(admin.Codes()) + len(state.Causes()) + len(state.Reasons()) + 1; len(all) != want {
		t.Errorf("the list in JSON has %d codes, want %d", len(all), want)
	}
}
