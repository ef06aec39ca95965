package cmdline_test

import (
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
)

// All that cannot be read is said at once, and what it should have been.
func TestValuesThatCannotBeRead(t *testing.T) {
	for _, row := range []struct {
		rule  string
		words []string
		env   [2]string
		want  string
	}{
		{"none", []string{"--count", "3", "--span", "3s", "--yes"}, [2]string{"CMDLINE_COUNT", "1"}, ""},
		{"all", []string{"--count=3s", "--span", "3", "--yes=perhaps"}, [2]string{}, `--count: "3s" is not a whole number
--span: "3" is not a duration such as 500ms, 30s or 72h
--yes: "perhaps" is not true or false`},
		{"alias", []string{"-c", "many"}, [2]string{}, `-c: "many" is not a whole number`},
		{"environment", nil, [2]string{"CMDLINE_COUNT", "many"}, `CMDLINE_COUNT: "many" is not a whole number`},
	} {
		if row.env[0] != "" {
			t.Setenv(row.env[0], row.env[1])
		}
		var span time.Duration
		cmd := &cli.Command{Name: "do", Flags: []cli.Flag{
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, EnvVars: []string{"CMDLINE_COUNT"}},
			&cli.DurationFlag{Name: "span", Destination: &span}, &cli.BoolFlag{Name: "yes"},
		}, Action: func(c *cli.Context) error {
			if c.Int("count") != 3 || span != 3*time.Second || !c.Bool("yes") {
				t.Errorf("%s: %d, %s, %v", row.rule, c.Int("count"), span, c.Bool("yes"))
			}
			return nil
		}}
		got := ""
		if err := cmdline.Run(t.Context(), &cli.App{Name: "prog"}, cmd, row.words); err != nil {
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s:\n%s\nwant\n%s", row.rule, got, row.want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"send", "wait", "watch", "control-plane", "o"}
	for word, want := range map[string]string{
		"sned": "send", "Send": "send", "wach": "watch", "controlplane": "control-plane", "o": "o",
		"no-such-verb": "", "timestamp": "", "ab": "", "": "",
	} {
		if got := cmdline.Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
