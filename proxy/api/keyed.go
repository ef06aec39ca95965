package api

import (
	"bytes"
	"net/http"

	"pannier/journal"
)

// readKeyed reads the body of a write that is no intent's, and its key; nil: none.
// Such a write is refused while we drain.
func (a *API) readKeyed(w http.ResponseWriter, r *http.Request) (raw []byte, key *journal.Key, err error) {
	if a.isDraining() {
		return nil, nil, errDraining
	}
	return a.readBodyAndKey(w, r)
}

// readBodyAndKey is readKeyed for a write that ends intents: that goes on while we drain.
func (a *API) readBodyAndKey(w http.ResponseWriter, r *http.Request) (raw []byte, key *journal.Key, err error) {
	if raw, err = a.readBody(w, r, a.opt.MaxBody); err != nil {
		return nil, nil, err
	}
	text, err := headerKey(r.Header)
	if err != nil || text == "" {
		return raw, nil, err
	}
	asked := raw
	if len(asked) == 0 {
		asked = []byte("{}")
	}
	// A copy: the key is compared in canonical form.
	key, err = scopedKey(callerOf(r).identity(), r.Method+" "+r.URL.Path, text, bytes.Clone(asked))
	if err != nil {
		return nil, nil, refuse(codeInvalidJSON, "the body is not valid JSON")
	}
	return raw, key, nil
}

// ownerGiven is whose view a request asks for, in canonical form: the key's agent
// where it names none; "": nobody's.
func ownerGiven(r *http.Request) (string, error) {
	text := r.URL.Query().Get("owner_agent")
	if text == "" {
		text = r.Header.Get("X-Owner-Agent")
	}
	if text == "" {
		return callerOf(r).self(), nil
	}
	canonical, why := readAddress(text)
	if why != "" {
		return "", refuseFaults([]fault{{"?owner_agent", why, codeInvalidAddress}})
	}
	return canonical, nil
}

// ownerMeant is ownerGiven of what is some owner's: a key that speaks for many does
// not mean all there are.
func ownerMeant(r *http.Request) (string, error) {
	owner, err := ownerGiven(r)
	if err == nil && owner == "" && callerOf(r) != nil {
		return "", refuseFaults([]fault{{"?owner_agent", "is required: the key speaks for more agents than one", codeSchemaInvalid}})
	}
	return owner, err
}
