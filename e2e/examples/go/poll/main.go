// Poll AGENT takes intents, ten at most at a time, and answers under their leases.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

var api = os.Getenv("PANNIER")

type order struct{ Total float64 }

func work(o order) (any, error) {
	if o.Total == 0 {
		return nil, errors.New("no total")
	}
	return map[string]any{"paid": o.Total, "by": "go/poll"}, nil
}

func main() {
	url := api + "/v1/agents/" + strings.TrimPrefix(os.Args[1], "agent://") + "/intents?limit=10&wait_seconds=20"
	for {
		var got struct {
			Intents []struct {
				ID      string `json:"intent_id"`
				Lease   string `json:"lease_id"`
				Payload order
			}
		}
		resp, err := http.Get(url)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(&got)
			resp.Body.Close()
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			time.Sleep(time.Second) // the sidecar restarts
		}
		for _, it := range got.Intents {
			verb, answer := "ack", map[string]any{"lease_id": it.Lease}
			if result, err := work(it.Payload); err != nil {
				verb, answer["reason"] = "nack", err.Error()
			} else {
				answer["result"] = result
			}
			body, _ := json.Marshal(answer) // of strings and numbers
			// unanswered, it comes again when its lease is over
			if resp, err := http.Post(api+"/v1/intents/"+it.ID+"/"+verb, "application/json", bytes.NewReader(body)); err == nil {
				resp.Body.Close()
				fmt.Println(it.ID, verb, resp.StatusCode)
			}
		}
	}
}
