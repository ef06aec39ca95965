package inject

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A stream may have many documents that are large, and of kinds that are no concern of ours: these are
// not read, and need not be YAML at all.

// outerKind is the kind of a document written as a block, one word in one line; whatever stands there
// otherwise is found by outerKindKey alone.
var (
	outerKind    = regexp.MustCompile(`(?m)^["']?kind["']?[ \t]*:[ \t]*["']?([A-Za-z][A-Za-z0-9]*)["']?[ \t]*(#.*)?\r?$`)
	outerKindKey = regexp.MustCompile(`(?m)^["']?kind["']?[ \t]*:`)
)

// anyKind is what may be the kind of an object of ours in a document that is written in another way.
var anyKind = regexp.MustCompile(`\bkind["']?\s*:\s*(["']?(Pod|Deployment|ReplicaSet|StatefulSet|DaemonSet|ReplicationController|Job|CronJob|[A-Za-z]*List)\b|[^"'A-Za-z\s])`)

// ofInterest reports whether a document may have pods for us.
func ofInterest(body []byte) bool {
	if bytes.Contains(body, []byte(Prefix+asked)) {
		return true
	}
	if isJSON(body) {
		var o struct{ Kind any }
		if json.Unmarshal(body, &o) == nil {
			kind, ok := o.Kind.(string)
			return ok && hasPods(kind)
		}
	}
	if keys := outerKindKey.FindAll(body, 2); len(keys) == 1 {
		word := outerKind.FindSubmatch(body)
		return word == nil || hasPods(string(word[1]))
	}
	return anyKind.Match(body)
}

// hasPods reports whether objects of a kind are, make or list pods, as far as that is known here.
func hasPods(kind string) bool {
	_, known := templates[kind]
	return known || strings.HasSuffix(kind, "List")
}

// kindless reports whether a document says something, and nowhere what it is.
func kindless(body []byte) bool {
	if bytes.Contains(body, []byte("kind")) {
		return false
	}
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// maxDepth is how deep brackets may be that are read. What a parser makes of a level, and of
// one within it, is a thousand times as large as the bracket.
const maxDepth = 1000

// deep reports whether brackets are deeper than that, those of texts among them.
func deep(body []byte) bool {
	depth := 0
	for _, c := range body {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > maxDepth {
			return true
		}
	}
	return false
}

// groups are the API groups in which the kinds of templates are those of Kubernetes itself.
var groups = []string{"apps", "batch", "extensions"}

// builtIn reports whether an object is of a kind of Kubernetes, and not one that is called the same.
func builtIn(o map[string]any) bool {
	group, _, grouped := strings.Cut(text(o, "apiVersion"), "/")
	if !grouped {
		return true
	}
	return slices.Contains(groups, group)
}

// asksAt is where within an object a pod asks for a sidecar, wherever that is; nil: none does.
func asksAt(v any) []string {
	switch v := v.(type) {
	case map[string]any:
		key := Prefix + asked
		if says, there := mapping(v, "metadata", "annotations")[key]; there && says != "false" {
			return []string{"metadata", "annotations", key}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if at := asksAt(v[name]); at != nil {
				return append([]string{name}, at...)
			}
		}
	case []any:
		for i, below := range v {
			if at := asksAt(below); at != nil {
				return append([]string{index(i)}, at...)
			}
		}
	}
	return nil
}
