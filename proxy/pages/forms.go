package pages

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
)

// forms makes the tokens by which our own forms are known: another site can make a
// browser send a form, and cannot read one of ours.
type forms struct{ key []byte }

func newForms() *forms {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails
	return &forms{key}
}

const tokenField = "form_token"

func (f *forms) token(session string) string {
	m := hmac.New(sha256.New, f.key)
	m.Write([]byte(session))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (f *forms) ours(typed url.Values, session string) bool {
	return f.same(typed.Get(tokenField), session)
}

// same reports whether token is that of a session.
func (f *forms) same(token, session string) bool {
	return hmac.Equal([]byte(token), []byte(f.token(session)))
}

// onceField is the idempotency key of a form: one that is sent twice is done once.
const onceField = "once"

func once() string { return rand.Text() }
