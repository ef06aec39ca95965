// Webhook PORT SECRETS receives intents by http; SECRETS is the file that `pannier secret list` names.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(receive)))
}

func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2<<20))
	if err != nil || !signed(r.Header, body) {
		http.Error(w, "bad signature", http.StatusUnauthorized)
		return
	}
	// Work once: keep webhook-id beside what the work changes, and answer 200 at once when it is there.
	var it struct{ Payload struct{ Total float64 } }
	if json.Unmarshal(body, &it) != nil || it.Payload.Total == 0 {
		http.Error(w, "no total", http.StatusUnprocessableEntity)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"paid": it.Payload.Total, "by": "go/webhook"})
}

// signed: is one of the signatures of one of the secrets? While a secret is
// rotated there are several of both.
func signed(h http.Header, body []byte) bool {
	sent, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	var ring struct{ Secrets []struct{ Secret string } }
	if file, err := os.ReadFile(os.Args[2]); err != nil || json.Unmarshal(file, &ring) != nil {
		return false
	}
	for _, s := range ring.Secrets {
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_")) // the sidecar wrote it
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, h.Get("webhook-id")+"."+h.Get("webhook-timestamp")+"."+string(body))
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		for _, got := range strings.Fields(h.Get("webhook-signature")) {
			if hmac.Equal([]byte(got), []byte(want)) {
				return true
			}
		}
	}
	return false
}
