package plane

import (
	"fmt"
	"log/slog"
	"strings"

	"pannier/proxy/controlplane"
)

// A Kind is a kind of source, as --source NAME or NAME=ARGUMENT names it. There is
// at most one source of a kind.
type Kind struct {
	Name  string
	Usage string // how --source names one
	Many  bool   // it may be named several times, and is then one source of all the arguments
	Bare  bool   // it has no argument
	Open  func(arguments []string, log *slog.Logger) (controlplane.Source, error)
}

const registration = "registration"

// The kinds of sources that every control plane knows. Of these the file is
// believed before what sidecars say of themselves, and that before a name server.
var (
	File = Kind{Name: "file", Usage: "file=PATH", Open: func(arguments []string, log *slog.Logger) (controlplane.Source, error) {
		return controlplane.OpenFile(arguments[0], log)
	}}
	Registration = Kind{Name: registration, Usage: registration, Bare: true, Open: func(_ []string, log *slog.Logger) (controlplane.Source, error) {
		return controlplane.NewRegistration(log), nil
	}}
	DNS = Kind{Name: "dns", Usage: "dns=AGENT=HOST:PORT", Many: true, Open: func(arguments []string, log *slog.Logger) (controlplane.Source, error) {
		return controlplane.NewDNS("", arguments, log)
	}}
)

func usages(kinds []Kind) string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.Usage)
	}
	last := len(all) - 1
	if last < 1 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// openSources makes the sources of the command line, in the order in which they
// are believed, however they are listed.
func openSources(kinds []Kind, words []string, log *slog.Logger) (sources []controlplane.Source, err error) {
	arguments := map[string][]string{}
	for _, word := range words {
		name, argument, given := strings.Cut(word, "=")
		var kind *Kind
		for i := range kinds {
			if kinds[i].Name == name {
				kind = &kinds[i]
			}
		}
		switch {
		case kind == nil, kind.Bare && given, !kind.Bare && argument == "":
			return nil, fmt.Errorf("--source %s: use %s", word, usages(kinds))
		case arguments[name] != nil && !kind.Many:
			return nil, fmt.Errorf("--source %s: %s is named twice", word, name)
		}
		arguments[name] = append(arguments[name], argument)
	}
	for _, k := range kinds {
		if arguments[k.Name] == nil {
			continue
		}
		s, err := k.Open(arguments[k.Name], log)
		if err != nil {
			return nil, fmt.Errorf("--source %s: %w", k.Name, err)
		}
		sources = append(sources, s)
	}
	return sources, nil
}
