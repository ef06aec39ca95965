package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/goccy/go-yaml/ast"

	"pannier/proxy/api"
	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

const (
	// maxKeys bounds the file: every key is compared with at each request.
	maxKeys   = 1000
	minKeyLen = 16 // a shorter one can be guessed where the API is reached from afar
	maxKeyLen = 255
)

// keysFile is who may use the app API: a YAML file, watched.
//
//	keys:
//	  - key: 3f9c1e…                     # or sha256: HEX of the key
//	    agents: [agent://acme/prod/orders]
//
// Two keys of one agent are valid at a time: that is how one takes the place of
// the other. Only hashes stay in memory.
type keysFile struct {
	watch.File
	changed func() // called after the keys have changed

	mu struct {
		sync.Mutex
		keys []apiKey
	}
}

// apiKey is an entry of the file.
type apiKey struct {
	hash   [sha256.Size]byte
	caller api.Caller
}

// openKeys reads the file for the first time, when an error is one of
// configuration. An empty path is no file, and asks nobody for a key.
func openKeys(path string, log *slog.Logger) (*keysFile, error) {
	f := &keysFile{File: watch.File{Key: "api_keys", Kind: "API keys file", Path: path, Log: log}, changed: func() {}}
	f.Take = f.replace
	return f, f.Open()
}

func (f *keysFile) replace(text []byte) ([]any, error) {
	keys, err := parseKeys(f.Path, text)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.mu.keys = keys
	f.mu.Unlock()
	f.changed()
	return []any{"keys", len(keys)}, nil
}

// identify returns whose key this is, nil for nobody's. It compares with every
// key there is, so that the time it takes says nothing.
func (f *keysFile) identify(key string) *api.Caller {
	hash := sha256.Sum256([]byte(key))
	f.mu.Lock()
	keys := f.mu.keys
	f.mu.Unlock()
	found := -1
	for i := range keys {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], keys[i].hash[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return &keys[found].caller
}

// parseKeys reads the content of a keys file. All that is wrong is reported at
// once, with its place and never with the text there: it may be a key.
func parseKeys(file string, text []byte) ([]apiKey, error) {
	top, err := yaml.ParseMapping(file, text)
	if err != nil {
		return nil, yaml.Hushed(err, "not YAML as it is read here (not shown, it may hold a key)")
	}
	if len(top) == 0 {
		// Half of a file that is just being written must not lock everybody out.
		return nil, &yaml.Error{File: file, Line: 1 + bytes.Count(text, []byte("\n")), Column: 1, Text: `the file is empty, want "keys:"`}
	}
	var keys []apiKey
	var errs []error
	for _, e := range top {
		if e.Key != "keys" {
			errs = append(errs, yaml.ErrorAt(file, e.At, "", `not a setting of a keys file, want "keys"`))
			continue
		}
		list, ok := e.Value.(*ast.SequenceNode)
		if !ok {
			errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), "keys", fmt.Sprintf("got %s, want a list of {key or sha256, agents}", yaml.KindOf(e.Value))))
			continue
		}
		if len(list.Values) > maxKeys {
			errs = append(errs, yaml.ErrorAt(file, list.GetToken(), "keys", fmt.Sprintf("%d entries, at most %d are read", len(list.Values), maxKeys)))
			continue
		}
		seen := map[[sha256.Size]byte]int{}
		for _, n := range list.Values {
			k, err := parseKey(file, n)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			line := n.GetToken().Position.Line
			if first, twice := seen[k.hash]; twice {
				errs = append(errs, yaml.ErrorAt(file, n.GetToken(), "keys", fmt.Sprintf("the same key as in line %d; one entry lists all its agents", first)))
				continue
			}
			seen[k.hash] = line
			keys = append(keys, k)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return keys, nil
}

// parseKey reads one entry: a key, or its hash, and its agents.
func parseKey(file string, n ast.Node) (k apiKey, err error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return k, yaml.Hushed(err, fmt.Sprintf("got %s, want {key or sha256, agents}", yaml.KindOf(n)))
	}
	var errs []error
	var secrets int
	for _, e := range entries {
		switch e.Key {
		case "key", "sha256":
			secrets++
			var why string
			if k.hash, why = keyHash(e); why != "" {
				errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), e.Key, why))
			}
		case "agents":
			var list []error
			k.caller.Agents, list = keyAgents(file, e)
			errs = append(errs, list...)
		default:
			errs = append(errs, yaml.ErrorAt(file, e.At, "", "not a setting of a key, want key or sha256, and agents"))
		}
	}
	if secrets != 1 {
		errs = append(errs, yaml.ErrorAt(file, n.GetToken(), "keys", "an entry has one of key and sha256"))
	}
	if k.caller.Agents == nil && len(errs) == 0 {
		errs = append(errs, yaml.ErrorAt(file, n.GetToken(), "agents", "an entry lists the agents its key is for"))
	}
	return k, errors.Join(errs...)
}

func keyHash(e yaml.Entry) (hash [sha256.Size]byte, why string) {
	s, ok := e.Value.(*ast.StringNode)
	switch {
	case !ok:
		return hash, fmt.Sprintf("got %s, want a string: write it in quotes", yaml.KindOf(e.Value))
	case e.Key == "sha256":
		sum, err := hex.DecodeString(s.Value)
		if err != nil || len(sum) != len(hash) {
			return hash, "must be the 64 hexadecimal digits of a SHA-256"
		}
		return [sha256.Size]byte(sum), ""
	case len(s.Value) < minKeyLen || len(s.Value) > maxKeyLen:
		return hash, fmt.Sprintf("must have %d to %d characters", minKeyLen, maxKeyLen)
	}
	for _, c := range []byte(s.Value) {
		if c <= ' ' || c > '~' || c == ',' { // a header may list tokens with commas between
			return hash, "must be visible ASCII without commas"
		}
	}
	return sha256.Sum256([]byte(s.Value)), ""
}

func keyAgents(file string, e yaml.Entry) (agents []string, errs []error) {
	items, err := yaml.StringsOf(file, e.Key, e.Value)
	if err != nil {
		return nil, []error{err}
	}
	if len(items) == 0 {
		return nil, []error{yaml.ErrorAt(file, e.Value.GetToken(), e.Key, "the list is empty: the key would be good for nothing")}
	}
	for _, item := range items {
		granted, err := api.Grant(item.Key)
		if err != nil {
			errs = append(errs, yaml.ErrorAt(file, item.At, e.Key, `not an address, "PREFIX/*" or "*"`))
			continue
		}
		agents = append(agents, granted)
	}
	return agents, errs
}
