package main

import (
	"encoding/json"

	"github.com/urfave/cli/v2"

	"pannier/cmd/build"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "show which build this is", Flags: []cli.Flag{outputFlag(), &cli.BoolFlag{Name: "sbom", Usage: "write what it is made of, as CycloneDX"}},
		Action: func(c *cli.Context) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			if _, err := exactArgs(c); err != nil {
				return err
			}
			if c.Bool("sbom") {
				return build.Materials(c.App.Writer)
			}
			b := build.This()
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
