package main

import (
	"encoding/json"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// build is what the binary knows about itself.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "show which build this is", Flags: []cli.Flag{outputFlag()},
		Action: func(c *cli.Context) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			if _, err := exactArgs(c); err != nil {
				return err
			}
			b := thisBuild()
			if asJSON {
				return json.NewEncoder(c.App.Writer).Encode(b)
			}
			modified := ""
			if b.Modified {
				modified = "yes: not what the revision says"
			}
			return pairs(c.App.Writer, "pannier", b.Version, "go", b.Go, "revision", b.Revision, "modified", modified)
		},
	}
}

func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{Version: "unknown"}
	}
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
