// Stream AGENT reads the stream of hand-overs and answers each.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

var api = os.Getenv("PANNIER")

type handover struct {
	ID      string `json:"intent_id"`
	Seq     int64
	Lease   string `json:"lease_id"`
	Payload struct{ Total float64 }
}

func main() {
	url := api + "/v1/agents/" + strings.TrimPrefix(os.Args[1], "agent://") + "/intents/stream?since="
	for since := int64(0); ; time.Sleep(time.Second) { // when it breaks, the sidecar restarts
		resp, err := http.Get(url + fmt.Sprint(since))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			var h handover
			if !ok || json.Unmarshal([]byte(data), &h) != nil || h.ID == "" {
				continue // a comment, a blank line, stream.timeout
			}
			answer(h)
			since = h.Seq
		}
		resp.Body.Close()
	}
}

// answer does the work. Unanswered, it comes again when its lease is over.
func answer(h handover) {
	verb, answer := "ack", map[string]any{"lease_id": h.Lease}
	if h.Payload.Total == 0 {
		verb, answer["reason"] = "nack", "no total"
	} else {
		answer["result"] = map[string]any{"paid": h.Payload.Total, "by": "go/stream"}
	}
	body, _ := json.Marshal(answer) // of strings and numbers
	if resp, err := http.Post(api+"/v1/intents/"+h.ID+"/"+verb, "application/json", bytes.NewReader(body)); err == nil {
		resp.Body.Close()
		fmt.Println(h.ID, verb, resp.StatusCode)
	}
}
