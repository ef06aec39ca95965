// Package build says what a program was built from, as the Go linker wrote it into
// the program: its version, and its bill of materials.
package build

import (
	"runtime"
	"runtime/debug"
)

// stamped is the version that a release is built as, where what it is built from does not
// say it: -ldflags "-X pannier/cmd/build.stamped=1.2.3".
var stamped string

// Info is what a program knows about itself.
type Info struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
}

// This is the running program.
func This() Info {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Info{Version: "unknown", Go: runtime.Version()}
	}
	i := Info{Version: info.Main.Version, Go: info.GoVersion}
	if stamped != "" {
		i.Version = stamped
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Revision = s.Value
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
	return i
}
