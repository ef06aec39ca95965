package cmdline

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// apply registers the flags with the set. What the environment says of them and cannot be read is an
// error, for all of them at once.
func apply(flags []cli.Flag, set *flag.FlagSet) error {
	var wrong []string
	for _, f := range flags {
		if err := f.Apply(set); err != nil {
			wrong = append(wrong, variableError(f, err))
		}
	}
	return usage(wrong)
}

func variableError(f cli.Flag, err error) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return err.Error()
	}
	for _, name := range doc.GetEnvVars() {
		if value := os.Getenv(name); value != "" {
			return fmt.Sprintf("%s: %q is not %s", name, value, kindOf(f))
		}
	}
	return err.Error()
}

// parse reads the words into the flags. All that cannot be read is said at once, which the flag
// package would stop at the first of.
func parse(flags []cli.Flag, set *flag.FlagSet, words []string) error {
	var wrong []string
	set.VisitAll(func(f *flag.Flag) { f.Value = &checked{f.Value, f.Name, flags, &wrong} })
	err := set.Parse(words)
	set.VisitAll(func(f *flag.Flag) { f.Value = f.Value.(*checked).Value })
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	return usage(wrong)
}

func usage(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return &UsageError{Text: strings.Join(wrong, "\n")}
}

// checked is a flag's value that keeps what is wrong with what it is set to.
type checked struct {
	flag.Value
	name  string
	flags []cli.Flag
	wrong *[]string
}

// Set never fails, so that what follows is read too.
func (v *checked) Set(text string) error {
	if err := v.Value.Set(text); err != nil {
		*v.wrong = append(*v.wrong, v.complaint(text, err))
	}
	return nil
}

func (v *checked) complaint(text string, err error) string {
	for _, f := range v.flags {
		for _, name := range f.Names() {
			if kind := kindOf(f); name == v.name && kind != "" {
				return fmt.Sprintf("%s: %q is not %s", dashed(v.name), text, kind)
			}
		}
	}
	return fmt.Sprintf("%s: %v", dashed(v.name), err)
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// IsBoolFlag is asked by the flag package: may the value be missing?
func (v *checked) IsBoolFlag() bool {
	b, ok := v.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// kindOf says what a flag's value has to be; empty where its own complaint says it.
func kindOf(f cli.Flag) string {
	switch f.(type) {
	case *cli.IntFlag, *cli.Int64Flag:
		return "a whole number"
	case *cli.DurationFlag:
		return "a duration such as 500ms, 30s or 72h"
	case *cli.BoolFlag:
		return "true or false"
	}
	return ""
}
