package main

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// counters are those of a sidecar's page of metrics that rates are made of, added up
// by what a person tells apart.
type counters struct {
	at    time.Time
	total map[counter]float64
	none  bool // the sidecar has no such page
}

// counter is one of them: of whom, where it is of somebody.
type counter struct{ what, of string }

// What is counted.
const (
	countIn       = "in"       // accepted
	countEnded    = "ended"    // of these
	countBadly    = "badly"    // of these, not COMPLETED
	countAnswered = "answered" // hand-overs of an agent, however
	countFailed   = "failed"   // of these, not well
	countHeld     = "held"     // offers to a peer that it took
)

// counted says what a sample of the page adds to. Labels beyond these may come and go.
func counted(name string, labels map[string]string) (all []counter) {
	switch name {
	case "pannier_intent_submitted_total":
		return []counter{{countIn, ""}}
	case "pannier_intent_finished_total":
		all = []counter{{countEnded, ""}}
		if labels["outcome"] != "completed" {
			all = append(all, counter{countBadly, ""})
		}
	case "pannier_intent_delivery_attempts_total":
		switch agent := labels["agent"]; labels["outcome"] {
		case "failed", "exhausted", "rejected":
			all = []counter{{countAnswered, agent}, {countFailed, agent}}
		case "answered", "acknowledged":
			all = []counter{{countAnswered, agent}}
		}
	case "pannier_intent_offers_total":
		if labels["outcome"] == "held" {
			all = []counter{{countHeld, labels["peer"]}}
		}
	}
	return all
}

// count reads the page of metrics.
func count(ctx context.Context, cl *client) (*counters, error) {
	page, err := cl.call(ctx, request{doing: "read the metrics", method: http.MethodGet, path: "/metrics"})
	c := &counters{at: time.Now(), total: map[counter]float64{}}
	if err != nil && unknownThere(err) {
		c.none = true
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(page))
	lines.Buffer(nil, maxFrame)
	for lines.Scan() {
		if name, labels, value, ok := sample(lines.Text()); ok {
			for _, to := range counted(name, labels) {
				c.total[to] += value
			}
		}
	}
	return c, lines.Err()
}

// sample reads a line of Prometheus' text format; ok is false for one without a value.
func sample(line string) (name string, labels map[string]string, value float64, ok bool) {
	end := strings.IndexAny(line, "{ ")
	if end < 1 || strings.HasPrefix(line, "#") {
		return "", nil, 0, false
	}
	name, rest := line[:end], line[end:]
	labels = map[string]string{}
	if strings.HasPrefix(rest, "{") {
		for rest = rest[1:]; !strings.HasPrefix(rest, "}"); rest = strings.TrimLeft(rest, ",") {
			label, more, found := strings.Cut(rest, "=")
			quoted, err := strconv.QuotedPrefix(more)
			if !found || err != nil {
				return "", nil, 0, false
			}
			if labels[label], err = strconv.Unquote(quoted); err != nil {
				return "", nil, 0, false
			}
			rest = more[len(quoted):]
		}
		rest = rest[1:]
	}
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ") // a time may follow
	value, err := strconv.ParseFloat(text, 64)
	return name, labels, value, err == nil
}

// rates are how much a second things happened between two looks.
type rates struct{ before, after *counters }

// of is the rate of one thing. A sidecar that was started anew has counted from zero.
func (r rates) of(what, of string) float64 {
	key := counter{what, of}
	n, seconds := r.after.total[key]-r.before.total[key], r.after.at.Sub(r.before.at).Seconds()
	if n < 0 {
		n = r.after.total[key]
	}
	if seconds <= 0 {
		return 0
	}
	return n / seconds
}

// text is of for a table: nothing where nothing happens.
func (r rates) text(what, of string) string {
	if rate := r.of(what, of); rate > 0 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return ""
}

// document is all of them, for JSON.
func (r rates) document() map[string]any {
	named := func(whats ...string) map[string]map[string]float64 {
		out := map[string]map[string]float64{}
		for key := range r.after.total {
			for _, what := range whats {
				if key.what == what {
					if out[key.of] == nil {
						out[key.of] = map[string]float64{}
					}
					out[key.of][what] = r.of(what, key.of)
				}
			}
		}
		return out
	}
	return map[string]any{
		"in": r.of(countIn, ""), "ended": r.of(countEnded, ""), "ended_badly": r.of(countBadly, ""),
		"agents": named(countAnswered, countFailed), "peers": named(countHeld),
	}
}
