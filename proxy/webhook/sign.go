package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks 1.0.0, and AXP's.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
	HeaderAXP       = "X-Axme-Signature"
)

const (
	secretPrefix = "whsec_"
	secretBytes  = 32 // Standard Webhooks: 24 to 64
	tolerance    = 5 * time.Minute
	schemeV1     = "v1,"
	axpScheme    = "sha256="
)

// Secret is a shared key as its owner writes it: whsec_ and base64, or any
// other text, which is taken byte for byte. It prints as its fingerprint.
type Secret struct {
	text string
	key  []byte
}

// NewSecret makes a random one.
func NewSecret() Secret {
	key := make([]byte, secretBytes)
	rand.Read(key)
	return Secret{text: secretPrefix + base64.StdEncoding.EncodeToString(key), key: key}
}

// ParseSecret reads a secret. One that begins with whsec_ and does not go on as
// base64 of 24 to 64 bytes is refused: it was cut or mistyped.
func ParseSecret(text string) (Secret, error) {
	encoded, standard := strings.CutPrefix(text, secretPrefix)
	if !standard {
		if len(text) < 16 || len(text) > 128 {
			return Secret{}, fmt.Errorf("a secret has 16 to 128 characters, not %d", len(text))
		}
		return Secret{text: text, key: []byte(text)}, nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < 24 || len(key) > 64 {
		return Secret{}, errors.New("after whsec_ comes the base64 of 24 to 64 bytes")
	}
	return Secret{text: text, key: key}, nil
}

// Fingerprint tells secrets apart without showing them: 8 hex digits of a
// SHA-256.
func (s Secret) Fingerprint() string {
	sum := sha256.Sum256([]byte(s.text))
	return hex.EncodeToString(sum[:4])
}

// String keeps a secret out of logs and errors.
func (s Secret) String() string { return "secret " + s.Fingerprint() }

// Reveal is the secret itself, for the file it is kept in and for its owner.
func (s Secret) Reveal() string { return s.text }

func (s Secret) v1(id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// axp signs the body alone, with the text of the secret as its key, as AXP's
// receivers check it.
func (s Secret) axp(body []byte) []byte {
	h := hmac.New(sha256.New, []byte(s.text))
	h.Write(body)
	return h.Sum(nil)
}

// Sign puts the signatures of a request with this body into its headers: one of
// each secret, the primary first. AXP's header has room for one.
func Sign(h http.Header, id string, at time.Time, body []byte, secrets ...Secret) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	list := make([]string, len(secrets))
	for i, s := range secrets {
		list[i] = schemeV1 + base64.StdEncoding.EncodeToString(s.v1(id, timestamp, body))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	if len(secrets) > 0 {
		h.Set(HeaderSignature, strings.Join(list, " "))
		h.Set(HeaderAXP, axpScheme+hex.EncodeToString(secrets[0].axp(body)))
	}
}

// Verify says what is wrong with a request, and nil where one of its signatures
// is of one of the secrets. The error names the check that failed.
func Verify(h http.Header, body []byte, now time.Time, secrets ...Secret) error {
	id, timestamp, signatures := h.Get(HeaderID), h.Get(HeaderTimestamp), h.Get(HeaderSignature)
	for name, value := range map[string]string{HeaderID: id, HeaderTimestamp: timestamp, HeaderSignature: signatures} {
		if value == "" {
			return fmt.Errorf("the header %s is missing", strings.ToLower(name))
		}
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("webhook-timestamp %.20q is not a number of seconds", timestamp)
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return fmt.Errorf("webhook-timestamp is %v from now, more than %v: one of the clocks is wrong, or the request is an old one", off.Round(time.Second), tolerance)
	}
	known := 0
	for _, one := range strings.Fields(signatures) {
		encoded, ok := strings.CutPrefix(one, schemeV1)
		if !ok {
			continue // of a version that is not known here
		}
		known++
		got, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		for _, s := range secrets {
			if subtle.ConstantTimeCompare(got, s.v1(id, timestamp, body)) == 1 {
				return nil
			}
		}
	}
	if known == 0 {
		return errors.New("webhook-signature has no signature of version v1")
	}
	return mismatch(h, body, secrets)
}

// mismatch says as much as can be known of a signature that does not fit.
func mismatch(h http.Header, body []byte, secrets []Secret) error {
	if got, err := hex.DecodeString(strings.TrimPrefix(h.Get(HeaderAXP), axpScheme)); err == nil && len(got) > 0 {
		for _, s := range secrets {
			if subtle.ConstantTimeCompare(got, s.axp(body)) == 1 {
				return errors.New("no signature matches, though the secret and the body are right: webhook-id or webhook-timestamp was changed")
			}
		}
	}
	why := "the secret is another, or the body was changed"
	if trimmed := bytes.TrimSpace(body); len(trimmed) < len(body) {
		why += " (it begins or ends with white space: is it the body as it came?)"
	}
	return fmt.Errorf("no signature matches: %s. It must be the bytes as they came, not JSON that was decoded and written again", why)
}
