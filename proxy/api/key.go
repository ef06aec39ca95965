package api

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
)

// maxKey is the length of the longest idempotency key.
const maxKey = 255

// headerKey reads the Idempotency-Key header, "" where there is none.
func headerKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", refuse(codeInvalidRequest, "the header Idempotency-Key is given %d times", len(values))
	}
	key, why := parseKey(values[0])
	if why != "" {
		return "", refuse(codeInvalidRequest, "the header Idempotency-Key %s", why)
	}
	return key, nil
}

// parseKey reads a key as clients send it: bare, or as the quoted string of
// RFC 8941. Both spellings are one key.
func parseKey(text string) (key, why string) {
	if strings.HasPrefix(text, `"`) {
		inner, ok := strings.CutSuffix(text[1:], `"`)
		if !ok {
			return "", "begins with a quote and does not end with one"
		}
		if inner, ok = unescape(inner); !ok {
			return "", "has a quoted string with a bad escape"
		}
		text = inner
	}
	if len(text) == 0 || len(text) > maxKey {
		return "", "must have 1 to 255 characters"
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return "", "must be visible ASCII"
		}
	}
	return text, ""
}

// unescape undoes the two escapes a quoted string may have, \" and \\.
func unescape(s string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
		}
		out.WriteByte(s[i])
	}
	return out.String(), true
}

// operators is the identity of whoever calls the admin API: no app has it.
const operators = "\x00operators"

// OperatorKey is the Idempotency-Key of a request to the admin API that asks for what
// is given as JSON; nil where it has none.
func OperatorKey(r *http.Request, asked any) (*journal.Key, error) {
	key, err := headerKey(r.Header)
	if err != nil || key == "" {
		return nil, err
	}
	raw, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	return scopedKey(operators, r.Method+" "+r.URL.Path, key, raw)
}

// scopedKey is how the committer compares a key: the hash of who called what
// with it, and the fingerprint of what was asked for.
func scopedKey(identity, methodAndPath, key string, asked []byte) (*journal.Key, error) {
	canonical := jsontext.Value(asked)
	// Numbers keep their text: two integers beyond 2^53 are not the same amount.
	err := canonical.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	if err != nil {
		return nil, err
	}
	return &journal.Key{
		Hash:        sha256.Sum256([]byte(identity + "\x00" + methodAndPath + "\x00" + key)),
		Fingerprint: sha256.Sum256(canonical),
	}, nil
}
