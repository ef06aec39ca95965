// Send AGENT JSON sends one intent and prints how it ended.
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

type intent struct {
	ID     string `json:"intent_id"`
	Status string `json:"status"`
	Result any    `json:"result"`
	Error  any    `json:"error"`
}

func main() {
	api := os.Getenv("PANNIER") // http://127.0.0.1:7400
	url := api + "/v1/agents/" + strings.TrimPrefix(os.Args[1], "agent://") + "/intents/order.process.v1"
	key := rand.Text() // makes one intent of all tries, also of one whose answer was lost
	var sent intent
	for try(&sent, "POST", url, os.Args[2], key) != nil {
		time.Sleep(time.Second)
	}
	var got struct{ Intent intent }
	for ended := false; !ended; {
		if err := try(&got, "GET", api+"/v1/intents/"+sent.ID+"?wait_for=terminal&wait_seconds=20", "", ""); err != nil {
			time.Sleep(time.Second)
		}
		ended = slices.Contains([]string{"COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"}, got.Intent.Status)
	}
	json.NewEncoder(os.Stdout).Encode(got.Intent)
}

// try makes one request; an error is worth another try. A refusal is not.
func try(into any, method, url, body, key string) error {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 500 || resp.StatusCode == 429 {
		return fmt.Errorf("%s", resp.Status)
	} else if resp.StatusCode != 200 {
		log.Fatalf("%s %s: %s", method, url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
