package cmdline_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
)

// program is one with a command, and a command with commands.
func program(out *strings.Builder, got *string) *cli.App {
	flags := func() []cli.Flag {
		return []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"CMDLINE_OUTPUT"}, Value: "text", Usage: "print in `FORMAT`"},
			&cli.IntFlag{Name: "count"}, cmdline.HelpFlag(),
		}
	}
	act := func(c *cli.Context) error {
		*got = strings.Join(append([]string{c.Command.HelpName, c.String("output")}, c.Args().Slice()...), " ")
		if c.IsSet("output") {
			*got += " set"
		}
		return c.Context.Err()
	}
	return &cli.App{Name: "prog", Usage: "does", Writer: out, Flags: []cli.Flag{cmdline.HelpFlag()}, Commands: []*cli.Command{
		{Name: "do", Usage: "do it", ArgsUsage: "THING", Description: "First.\n\n   Indented.", Flags: flags(), Action: act},
		{Name: "group", Usage: "many", Flags: flags(), Subcommands: []*cli.Command{
			{Name: "one", Usage: "the first", Flags: flags(), Action: act}, {Name: "secret", Usage: "not shown", Hidden: true, Action: act},
		}},
	}}
}

func TestDispatch(t *testing.T) {
	for _, row := range []struct{ line, env, got, wrong string }{
		{"do -- thing", "", "prog do text thing", ""},
		{"do --output json -- thing", "", "prog do json thing set", ""},
		{"do -o json --", "", "prog do json set", ""},
		{"do --", "yaml", "prog do yaml set", ""},
		{"do -o json --", "yaml", "prog do json set", ""},
		{"group one --output=x -- a b", "", "prog group one x a b set", ""},
		{"do -- --help", "", "prog do text --help", ""},
		{"group secret -- x", "", "prog group secret  x", ""},
		{"do --count many", "", "", "many"},
		{"do --colour red", "", "", "colour"},
		{"group -- oen", "", "", `no command "oen"`},
	} {
		if row.env != "" {
			t.Setenv("CMDLINE_OUTPUT", row.env)
		}
		var got string
		err := cmdline.Dispatch(t.Context(), program(new(strings.Builder), &got), strings.Fields(row.line))
		var usage *cmdline.UsageError
		switch {
		case row.wrong == "" && (err != nil || got != row.got):
			t.Errorf("%s: %q, %v, want %q", row.line, got, err, row.got)
		case row.wrong != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), row.wrong)):
			t.Errorf("%s: %v, want a usage error that says %s", row.line, err, row.wrong)
		}
		os.Unsetenv("CMDLINE_OUTPUT")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	var got string
	if err := cmdline.Dispatch(ended, program(new(strings.Builder), &got), []string{"do"}); !errors.Is(err, context.Canceled) {
		t.Errorf("the command's context is not the caller's: %v", err)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"": "NAME:\n   prog - does\n\nUSAGE:\n   prog COMMAND [OPTIONS]\n\nCOMMANDS:\n   do     do it\n   group  many\n\nOPTIONS:\n   --help, -h  show help (default: false)\n",
		"do --help": "NAME:\n   prog do - do it\n\nUSAGE:\n   prog do [OPTIONS] THING\n\nDESCRIPTION:\n   First.\n\n      Indented.\n\nOPTIONS:\n" +
			"   --output FORMAT, -o FORMAT  print in FORMAT (default: \"text\") [$CMDLINE_OUTPUT]\n   --count value               (default: 0)\n   --help, -h                  show help (default: false)\n",
		"group": "NAME:\n   prog group - many\n\nUSAGE:\n   prog group COMMAND [OPTIONS]\n\nCOMMANDS:\n   one  the first\n\nOPTIONS:\n" +
			"   --output FORMAT, -o FORMAT  print in FORMAT (default: \"text\") [$CMDLINE_OUTPUT]\n   --count value               (default: 0)\n   --help, -h                  show help (default: false)\n",
	} {
		var out strings.Builder
		var got string
		if err := cmdline.Dispatch(t.Context(), program(&out, &got), strings.Fields(line)); err != nil || out.String() != want {
			t.Errorf("%q: %v\n%s\nwant\n%s", line, err, out.String(), want)
		}
	}
}
