package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/cmd/build"
	"pannier/proxy"
	"pannier/proxy/yaml"
)

const configEnv = "PANNIER_CONFIG"

// settings are those of a sidecar as a command line gives them. The config file is read before any
// flag, so that what it says is the default of each: default < file < environment < flag.
type settings struct {
	opts    proxy.Options
	words   []string // of the command line
	file    string   // the config file, empty for none
	fileErr error
	places  map[string]proxy.Place // in the file, by key
	lists   map[string]*cli.StringSlice
}

// newSettings reads the config file that the command line names, if its first words are those of
// the command that the settings are for.
func newSettings(words []string, command ...string) *settings {
	s := &settings{opts: proxy.DefaultOptions(), words: words, lists: map[string]*cli.StringSlice{}}
	if len(words) < len(command) || !slices.Equal(words[:len(command)], command) {
		return s
	}
	if s.file = configPath(words[len(command):]); s.file != "" {
		s.places, s.fileErr = proxy.LoadConfig(s.file, &s.opts)
	}
	return s
}

// configPath finds the config file before any flag is parsed.
func configPath(words []string) string {
	for i, word := range words {
		name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case word == "--":
			return os.Getenv(configEnv)
		case !strings.HasPrefix(word, "-") || name != "config":
		case inline:
			return value
		case i+1 < len(words):
			return words[i+1]
		}
	}
	return os.Getenv(configEnv)
}

// flags are bound straight to the options.
func (s *settings) flags() []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "config", EnvVars: []string{configEnv}, Usage: "YAML `FILE` with any of these settings"}}
	for _, of := range proxy.Settings() {
		if of.Flag == "" {
			continue
		}
		if of.IsList() {
			s.lists[of.Key] = cli.NewStringSlice()
			flags = append(flags, &cli.StringSliceFlag{Name: of.Flag, EnvVars: of.Variables, Destination: s.lists[of.Key], Usage: of.Usage})
			continue
		}
		switch to := of.Field(&s.opts).(type) {
		case *string:
			flags = append(flags, &cli.StringFlag{Name: of.Flag, EnvVars: of.Variables, Value: *to, Destination: to, Usage: of.Usage})
		case *bool:
			flags = append(flags, &cli.BoolFlag{Name: of.Flag, EnvVars: of.Variables, Value: *to, Destination: to, Usage: of.Usage})
		case *int:
			flags = append(flags, &cli.IntFlag{Name: of.Flag, EnvVars: of.Variables, Value: *to, Destination: to, Usage: of.Usage})
		case *time.Duration:
			flags = append(flags, &cli.DurationFlag{Name: of.Flag, EnvVars: of.Variables, Value: *to, Destination: to, Usage: of.Usage})
		}
	}
	return flags
}

// options are those of the file, the environment and the flags together. The error is all that is
// wrong with them.
func (s *settings) options(c *cli.Context) (proxy.Options, error) {
	errs := flat(s.fileErr)
	s.opts.Config = s.file
	for _, of := range proxy.Settings() {
		if s.given(c, of) {
			s.opts.Given = append(s.opts.Given, of.Key)
		}
		if list := s.lists[of.Key]; list != nil && c.IsSet(of.Flag) {
			if err := of.SetList(&s.opts, list.Value()); err != nil {
				errs = append(errs, fmt.Errorf("%s %w", s.origin(c, of), err))
			}
		}
	}
	s.opts.Version = build.This().Version
	for _, err := range flat(s.opts.Validate()) {
		errs = append(errs, s.blame(c, err))
	}
	return s.opts, errors.Join(s.inOrder(errs)...)
}

// blame says where the value came from that a complaint of Validate is about: it begins with the
// setting's key, or several. A default is wrong only beside others, and its complaint names them.
func (s *settings) blame(c *cli.Context, err error) error {
	keys, text, _ := strings.Cut(err.Error(), ": ")
	for _, of := range proxy.Settings() {
		switch {
		case keys == of.Key && s.given(c, of):
			return fmt.Errorf("%s: %s", s.origin(c, of), text)
		case s.places[of.Key].Line > 0 && !s.given(c, of) && slices.Contains(strings.Split(keys, ", "), of.Key):
			return s.places[of.Key].Blame(keys, errors.New(text))
		}
	}
	return err
}

// inOrder sorts complaints by their line in the config file; behind them is what is elsewhere.
func (s *settings) inOrder(errs []error) []error {
	line := func(err error) int {
		if at := (*yaml.Error)(nil); errors.As(err, &at) && at.File == s.file {
			return at.Line
		}
		return math.MaxInt
	}
	slices.SortStableFunc(errs, func(a, b error) int { return cmp.Compare(line(a), line(b)) })
	return errs
}

// given reports whether the command line or the environment has the setting.
func (s *settings) given(c *cli.Context, of proxy.Setting) bool {
	return of.Flag != "" && c.IsSet(of.Flag)
}

// origin says what gave a setting its value: the command line beats the environment, which beats
// the file.
func (s *settings) origin(c *cli.Context, of proxy.Setting) string {
	if s.given(c, of) {
		for _, word := range s.words {
			if name, _, _ := strings.Cut(word, "="); strings.TrimLeft(name, "-") == of.Flag && strings.HasPrefix(word, "-") {
				return "--" + of.Flag
			}
		}
		for _, variable := range of.Variables {
			if os.Getenv(variable) != "" {
				return variable
			}
		}
	}
	if place, ok := s.places[of.Key]; ok {
		return fmt.Sprintf("%s:%d", s.file, place.Line)
	}
	return "default"
}

// value is a setting's value as YAML.
func (s *settings) value(of proxy.Setting) string {
	if text, ok := of.Value(&s.opts); ok {
		return text
	}
	return s.places[of.Key].Value
}
