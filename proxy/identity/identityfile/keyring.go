package identityfile

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"pannier/proxy/identity"
	"pannier/proxy/regular"
	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

// Keyring holds the keys shared by sidecars that have no certificates: a
// YAML file, watched, that nobody else may read.
//
//	keys:
//	  - id: "2026-11"
//	    secret: 3f9c1e…      # of openssl rand -base64 32
//	    use: current         # or next, or retiring
//	    agents: ["acme/*"]   # left out: every agent
type Keyring struct {
	watch.File
	set func([]identity.Key) error
}

// OpenKeyring reads the file for the first time, when an error is one of
// configuration. An empty path is no file.
func OpenKeyring(path string, set func([]identity.Key) error, log *slog.Logger) (*Keyring, error) {
	f := &Keyring{File: watch.File{Key: "keyring", Kind: "keyring", Path: path, Log: log}, set: set}
	f.Take = f.replace
	return f, f.Open()
}

func (f *Keyring) replace(text []byte) ([]any, error) {
	if err := regular.Private(f.Path); err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	keys, err := parseKeyring(f.Path, text)
	if err != nil {
		return nil, err
	}
	if err := f.set(keys); err != nil {
		return nil, fmt.Errorf("keyring: %s: %w", f.Path, err)
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID + " " + string(k.Use)
	}
	return []any{"keys", strings.Join(ids, ", ")}, nil
}

// parseKeyring reads the content of a keyring. All that is wrong is reported at
// once, with its place and never with the text there: it may be a key.
func parseKeyring(file string, text []byte) ([]identity.Key, error) {
	top, err := yaml.ParseMapping(file, text)
	if err != nil {
		return nil, yaml.Hushed(err, "not YAML as it is read here (not shown, it may hold a key)")
	}
	if len(top) == 0 {
		return nil, &yaml.Error{File: file, Line: 1 + bytes.Count(text, []byte("\n")), Column: 1, Text: `the file is empty, want "keys:"`}
	}
	var keys []identity.Key
	var errs []error
	for _, e := range top {
		list, ok := e.Value.(*ast.SequenceNode)
		switch {
		case e.Key != "keys":
			errs = append(errs, yaml.ErrorAt(file, e.At, "", `not a setting of a keyring, want "keys"`))
		case !ok:
			errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), "keys", fmt.Sprintf("got %s, want a list of {id, secret, use, agents}", yaml.KindOf(e.Value))))
		case len(list.Values) > identity.KeysMost:
			errs = append(errs, yaml.ErrorAt(file, list.GetToken(), "keys", fmt.Sprintf("%d entries, at most %d are read", len(list.Values), identity.KeysMost)))
		default:
			for _, n := range list.Values {
				k, err := parseRingKey(file, n)
				keys, errs = append(keys, k), append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return keys, nil
}

// parseRingKey reads one entry.
func parseRingKey(file string, n ast.Node) (k identity.Key, err error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return k, yaml.Hushed(err, fmt.Sprintf("got %s, want {id, secret, use, agents}", yaml.KindOf(n)))
	}
	var errs []error
	for _, e := range entries {
		if e.Key == "agents" {
			grants, err := grantsOf(file, e)
			k.Agents, errs = grants, append(errs, err)
			continue
		}
		s, ok := e.Value.(*ast.StringNode)
		if !ok {
			errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), e.Key, fmt.Sprintf("got %s, want a string: write it in quotes", yaml.KindOf(e.Value))))
			continue
		}
		if why := setRingKey(&k, e.Key, s.Value); why != "" {
			errs = append(errs, yaml.ErrorAt(file, e.Value.GetToken(), "", why))
		}
	}
	for _, missing := range []struct {
		is   bool
		what string
	}{{k.ID == "", "id"}, {k.Secret == nil, "secret"}, {k.Use == "", "use"}} {
		if missing.is && len(errs) == 0 {
			errs = append(errs, yaml.ErrorAt(file, n.GetToken(), missing.what, "missing: an entry has id, secret and use"))
		}
	}
	return k, errors.Join(errs...)
}

// idBytes may stand in the id of a key.
const idBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

// setRingKey sets one field, or says what is wrong with it.
func setRingKey(k *identity.Key, field, value string) (why string) {
	switch field {
	case "id":
		if k.ID = value; value == "" || len(value) > 64 || strings.Trim(value, idBytes) != "" {
			return "id: 1 to 64 letters, digits and . _ -"
		}
	case "secret":
		secret, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(secret) < identity.MinSecret {
			return fmt.Sprintf("secret: want %d bytes or more in base64; make one with openssl rand -base64 %d", identity.MinSecret, identity.MinSecret)
		}
		k.Secret = secret
	case "use":
		switch k.Use = identity.Use(value); k.Use {
		case identity.Next, identity.Current, identity.Retiring:
		default:
			return "use: want next, current or retiring"
		}
	default:
		return "not a setting of a key, want id, secret, use and agents"
	}
	return ""
}
