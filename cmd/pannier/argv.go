package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
	"pannier/proxy"
)

// arrange puts what the user typed into the only order urfave/cli v2 reads: command, subcommand,
// flags, "--", arguments. Left alone, that library stops looking for flags at the first argument,
// so `send file.json --to bob` would send to nobody and carry on. We know every flag of every
// command, so what is neither a flag we know nor an argument is an error here.
func arrange(app *cli.App, args []string) ([]string, error) {
	if len(args) > 0 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	if len(args) == 0 || cmdline.IsHelp(args[0]) {
		return args, nil
	}
	cmd := cmdline.Find(app.Commands, args[0])
	if cmd == nil {
		if strings.HasPrefix(args[0], "-") {
			return nil, usageError("%s stands before the command", args[0]).
				withHint("write the command first: pannier COMMAND %s …", args[0])
		}
		return nil, explained(cmdline.Unknown(app.Name, app.Commands, args[0]))
	}
	path, flags, positionals := []string{cmd.Name}, []string(nil), []string(nil)
	for rest := args[1:]; len(rest) > 0; {
		word := rest[0]
		rest = rest[1:]
		switch {
		case cmdline.IsHelp(word): // whatever else there is: asking for help must always give it
			return append(path, "--help"), nil
		case word == "--":
			positionals, rest = append(positionals, rest...), nil
		case word == "-" || !strings.HasPrefix(word, "-"):
			if sub := cmdline.Find(cmd.Subcommands, word); sub != nil && len(positionals) == 0 {
				cmd, path = sub, append(path, sub.Name)
				continue
			}
			positionals = append(positionals, word)
		default:
			taken, err := takeFlag(cmd, strings.Join(path, " "), word, rest)
			if err != nil {
				return nil, err
			}
			flags, rest = append(flags, taken.words...), rest[taken.used:]
		}
	}
	return slices.Concat(path, flags, []string{"--"}, positionals), nil
}

// flagWords is one flag as cli is to see it, and how many of the words behind it belong to it.
type flagWords struct {
	words []string
	used  int
}

func takeFlag(cmd *cli.Command, path, word string, rest []string) (flagWords, error) {
	name, _, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
	known := lookupFlag(cmd, name)
	if known == nil {
		return flagWords{}, unknownFlag(cmd, path, word, name)
	}
	optional, isOptional := optionalValue(known)
	_, isBool := known.(*cli.BoolFlag)
	switch {
	case inline || isBool:
		return flagWords{words: []string{word}}, nil
	case isOptional && len(rest) > 0 && optional.accepts(rest[0]):
		return flagWords{words: []string{word + "=" + rest[0]}, used: 1}, nil
	case isOptional:
		return flagWords{words: []string{word}}, nil
	case len(rest) == 0:
		return flagWords{}, usageError("%s needs a value", word)
	case isFlagOf(cmd, rest[0]):
		return flagWords{}, usageError("%s needs a value, and %s is another flag", word, rest[0])
	}
	return flagWords{words: []string{word, rest[0]}, used: 1}, nil
}

func lookupFlag(cmd *cli.Command, name string) cli.Flag {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func isFlagOf(cmd *cli.Command, word string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	return strings.HasPrefix(word, "-") && lookupFlag(cmd, name) != nil
}

func optionalValue(f cli.Flag) (*optionalDuration, bool) {
	generic, ok := f.(*cli.GenericFlag)
	if !ok {
		return nil, false
	}
	value, ok := generic.Value.(*optionalDuration)
	return value, ok
}

// explained gives a command line that cannot be run the form of the other failures.
func explained(err error) error {
	if wrong := (*cmdline.UsageError)(nil); errors.As(err, &wrong) {
		return usageError("%s", wrong.Text).withHint("%s", wrong.Hint)
	}
	return err
}

// onlyInFile reports whether a setting of that name is no flag.
func onlyInFile(flag string) bool {
	key := strings.ReplaceAll(flag, "-", "_")
	return slices.ContainsFunc(proxy.Settings(), func(s proxy.Setting) bool { return s.Key == key && s.Flag == "" })
}

func unknownFlag(cmd *cli.Command, path, word, name string) error {
	err := usageError("%s has no flag %s", path, word)
	if lookupFlag(cmd, "config") != nil && onlyInFile(name) {
		return err.withHint("it is a key of the file that --config names: %s", strings.ReplaceAll(name, "-", "_"))
	}
	var names []string
	for _, f := range cmd.Flags {
		names = append(names, f.Names()...)
	}
	if near := cmdline.Nearest(name, names); near != "" {
		return err.withHint("did you mean --%s? An argument that begins with a dash goes after --", near)
	}
	return err.withHint("an argument that begins with a dash goes after --")
}
