package admin

import (
	"encoding/json"
	"net/http"
	"time"
)

// problem is the shape of every refusal: RFC 9457 around the error object
// that clients of the app API read, too.
type problem struct {
	OK     bool         `json:"ok"`
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Error  problemError `json:"error"`
}

type problemError struct {
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Retryable bool      `json:"retryable"`
	At        time.Time `json:"at"`
}

// NotFound answers for what is no page; text says what there is.
func NotFound(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "not_found", text) }
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(problem{ // an error here is a reader that hung up
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: text,
		Error: problemError{Code: code, Message: text, Retryable: status == http.StatusServiceUnavailable, At: time.Now().UTC()},
	})
}
