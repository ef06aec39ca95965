package main

import (
	"context"
	"slices"
	"strings"
	"testing"
)

func TestArrange(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		typed,
		want string // space-separated words
	}{
		{"flags after arguments come first", "send order.v1 {} --to b", "send --to b -- order.v1 {}"},
		{"flags before arguments stay", "send --to b order.v1", "send --to b -- order.v1"},
		{"flags between arguments come first, in their order", "send order.v1 --to b {} --from a", "send --to b --from a -- order.v1 {}"},
		{"a value may be glued on", "send --to=b {}", "send --to=b -- {}"},
		{"a single dash will do", "send -to b {}", "send -to b -- {}"},
		{"aliases are flags too", "get ID -o json", "get -o json -- ID"},
		{"a bool takes no value", "nack ID --reject --lease L", "nack --reject --lease L -- ID"},
		{"a bool does not swallow the argument behind it", "nack --reject ID --lease L", "nack --reject --lease L -- ID"},
		{"an optional value may be missing", "send {} --to b --wait", "send --to b --wait -- {}"},
		{"an optional value may be glued on", "send {} --wait=5s --to b", "send --wait=5s --to b -- {}"},
		{"an optional value may follow when it can be nothing else", "send {} --wait 5s --to b", "send --wait=5s --to b -- {}"},
		{"a bare optional flag leaves the next argument alone", "send --wait order.v1 --to b", "send --wait --to b -- order.v1"},
		{"an ordinary duration takes the next word", "poll b --wait 5s", "poll --wait 5s -- b"},
		{"a dash alone is an argument", "send - --to b", "send --to b -- -"},
		{"nothing behind -- is a flag", "get --addr h:1 -- --to -x", "get --addr h:1 -- --to -x"},
		{"a negative value is a value", "nack ID --delay -1s --lease L", "nack --delay -1s --lease L -- ID"},
		{"a subcommand goes behind its command", "peers forget J --admin h:1", "peers forget --admin h:1 -- J"},
		{"a subcommand may follow flags", "peers --admin h:1 forget J", "peers forget --admin h:1 -- J"},
		{"help may follow arguments", "get ID --help", "get --help"},
		{"help as a word", "help get", "get --help"},
	} {
		got, err := arrange(newApp(context.Background(), nil), strings.Fields(row.typed))
		if err != nil {
			t.Errorf("%s: %q: %v", row.rule, row.typed, err)
			continue
		}
		if want := strings.Fields(row.want); !slices.Equal(got, want) && !slices.Equal(got, append(want, "--")) {
			t.Errorf("%s: %q became %q, want %q", row.rule, row.typed, got, want)
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, typed, want string }{
		{"an unknown flag", "get ID --adr h:1", "did you mean --addr?"},
		{"an unknown flag before the argument", "get -x ID", "get has no flag -x"},
		{"a flag of another command", "get ID --lease L", "get has no flag --lease"},
		{"a flag before the command", "--addr h:1 get ID", "--addr stands before the command"},
		{"a missing value", "send {} --to", "--to needs a value"},
		{"a missing value before another flag", "send {} --to --wait", "--to needs a value, and --wait is another flag"},
		{"an unknown command", "sedn", `"send"`},
	} {
		got, err := arrange(newApp(context.Background(), nil), strings.Fields(row.typed))
		if err == nil {
			t.Errorf("%s: %q became %q, want an error", row.rule, row.typed, got)
			continue
		}
		if !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %q gave %q, which does not say %q", row.rule, row.typed, err, row.want)
		}
		if exitCode(err) != exitUsage {
			t.Errorf("%s: %q exits %d, want %d", row.rule, row.typed, exitCode(err), exitUsage)
		}
	}
}
