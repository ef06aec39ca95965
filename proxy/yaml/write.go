package yaml

import (
	"encoding/json"
	"strings"

	goyaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// JSON writes a value of a file in one line, which is YAML as well; empty for
// what cannot be written so.
func JSON(n ast.Node) string {
	var v any
	if goyaml.NodeToValue(n, &v) != nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

// Quote writes a string.
func Quote(s string) string {
	text, _ := json.Marshal(s) // no string fails
	return string(text)
}

// QuoteList writes a list of strings.
func QuoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
