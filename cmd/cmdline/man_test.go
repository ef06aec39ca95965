package cmdline_test

import (
	"strings"
	"testing"

	"pannier/cmd/cmdline"
)

func TestMan(t *testing.T) {
	t.Parallel()
	var got string
	app := program(new(strings.Builder), &got)
	app.Commands[0].Usage = `do "it" - or C:\not`
	app.Commands[0].Description = "First's.\n\n.second line"
	var page strings.Builder
	if err := cmdline.Man(&page, app, "v1", []string{"EXIT STATUS", "0 is well.", "1 is not."}); err != nil {
		t.Fatal(err)
	}
	want := `.TH "PROG" 1 "" "prog v1"
.SH NAME
prog \- does
.SH SYNOPSIS
.B prog
COMMAND [OPTIONS] [ARGUMENTS]
.SH COMMANDS
.SS "prog do [OPTIONS] THING"
do "it" \- or C:\enot
.PP
First\(aqs.
.PP
\&.second line
.TP
`
	if !strings.HasPrefix(page.String(), want) {
		t.Errorf("got\n%s\nwant first\n%s", page.String(), want)
	}
	for _, want := range []string{".B \\-\\-output FORMAT, \\-o FORMAT\nprint in FORMAT", "\n.SS \"prog group one [OPTIONS]\"\nthe first\n", ".SH \"EXIT STATUS\"\n.PP\n0 is well.\n.PP\n1 is not.\n"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no\n%s\nin\n%s", want, page.String())
		}
	}
	for _, none := range []string{"secret", "help"} {
		if strings.Contains(page.String(), none) {
			t.Errorf("it has %s:\n%s", none, page.String())
		}
	}
}
