// Command app is an app in a pod, as simple as one may be that has a sidecar: it posts
// its first intent as soon as it runs, goes on at a rate, takes what is sent to it, and
// has some last words. What it does is one line of JSON each on stdout.
//
//	APP_TO      agent that it sends to; empty: it sends nothing
//	APP_EVERY   between two intents (100ms)
//	APP_LISTEN  where it is sent intents; empty: it takes none
//	APP_ONCE    ends after its first intent, as a job does
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

type line struct {
	Sent        string `json:"sent,omitempty"`    // an id, of a post that got 200
	Last        string `json:"last,omitempty"`    // likewise, after SIGTERM
	Refused     string `json:"refused,omitempty"` // what a post got instead
	Got         string `json:"got,omitempty"`     // an id, of what came
	Redelivered bool   `json:"redelivered,omitempty"`
	Attempt     int    `json:"attempt,omitempty"`
}

var said sync.Mutex

func say(l line) {
	said.Lock()
	defer said.Unlock()
	json.NewEncoder(os.Stdout).Encode(l) // it goes to a file
}

func post(n int) (id, refused string) {
	body, _ := json.Marshal(map[string]any{"intent_type": "intent.order.process.v1", "to_agent": os.Getenv("APP_TO"), "payload": map[string]any{"n": n}})
	answer, err := http.Post("http://127.0.0.1:7400/v1/intents", "application/json", bytes.NewReader(body))
	if err != nil {
		return "", err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	var taken struct {
		ID string `json:"intent_id"`
	}
	if json.Unmarshal(text, &taken); err != nil || answer.StatusCode != http.StatusOK || taken.ID == "" {
		return "", fmt.Sprint(answer.Status, " ", string(text), err)
	}
	return taken.ID, ""
}

func take(w http.ResponseWriter, r *http.Request) {
	var item struct {
		ID          string `json:"intent_id"`
		Redelivered bool   `json:"redelivered"`
		Attempt     int    `json:"delivery_attempt"`
	}
	if err := json.NewDecoder(r.Body).Decode(&item); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	say(line{Got: item.ID, Redelivered: item.Redelivered, Attempt: item.Attempt})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: os.Getenv("APP_LISTEN"), Handler: http.HandlerFunc(take)}
	if server.Addr != "" {
		go server.ListenAndServe()
	}
	every, err := time.ParseDuration(cmp.Or(os.Getenv("APP_EVERY"), "100ms"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	sends := os.Getenv("APP_TO") != ""
	for n, told := 0, false; sends && !told; n++ {
		id, refused := post(n)
		say(line{Sent: id, Refused: refused})
		if os.Getenv("APP_ONCE") != "" {
			return
		}
		select {
		case <-ctx.Done():
			told = true
		case <-time.After(every):
		}
	}
	<-ctx.Done()
	server.Shutdown(context.Background()) // what it has is finished
	if sends {
		id, refused := post(-1)
		say(line{Last: id, Refused: refused})
	}
}
