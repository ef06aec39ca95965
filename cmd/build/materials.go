package build

import (
	"encoding/json"
	"errors"
	"io"
	"path"
	"runtime/debug"
	"strings"
)

// The bill of materials is a CycloneDX 1.6 document: of that standard the parts which
// say what is in a program. (https://cyclonedx.org/docs/1.6/json)
type bom struct {
	Format     string      `json:"bomFormat"`
	Version    string      `json:"specVersion"`
	Edition    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	URL        string     `json:"purl"` // package URL: https://github.com/package-url/purl-spec
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// checksum is the property with a module's line of go.sum. It is a hash of the
// module's files, which CycloneDX has no algorithm for.
const checksum = "pannier:go.sum"

var errNoInfo = errors.New("the program was built without its build info")

// Materials writes what the running program is made of: the toolchain's standard
// library and every module that was linked, each in the version that was.
func Materials(w io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errNoInfo
	}
	return write(w, info)
}

func write(w io.Writer, info *debug.BuildInfo) error {
	doc := bom{
		Format: "CycloneDX", Version: "1.6", Edition: 1,
		Metadata:   metadata{component{Type: "application", Name: path.Base(info.Path), Version: info.Main.Version, URL: purl(info.Path, info.Main.Version)}},
		Components: []component{{Type: "library", Name: "std", Version: info.GoVersion, URL: purl("std", strings.TrimPrefix(info.GoVersion, "go"))}},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Name: m.Path, Version: m.Version, URL: purl(m.Path, m.Version)}
		if m.Sum != "" {
			c.Properties = []property{{checksum, m.Sum}}
		}
		doc.Components = append(doc.Components, c)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

func purl(module, version string) string {
	url := "pkg:golang/" + module
	if version != "" && version != "(devel)" {
		url += "@" + strings.ReplaceAll(version, "+", "%2B")
	}
	return url
}
