package sidecar

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/outbound"
	"pannier/proxy/api"
)

// The names of the semantic conventions for messaging, as spans have them: see
// proxy/trace.
const (
	system      = "intent"
	opSend      = "send"
	opReceive   = "receive"
	opProcess   = "process"
	typeReceive = "receive"
	typeSettle  = "settle"
)

// messaging is what dashboards made for any message system read. Nothing of it is told
// apart by destination but what apps here are handed: a sender names destinations as it
// likes, and a histogram of each agent would be most of the page.
type messaging struct {
	send          prometheus.Observer
	taken, turned prometheus.Counter // of what was offered

	operations *prometheus.HistogramVec
	consumed   *prometheus.CounterVec
	processed  *prometheus.HistogramVec
}

func newMessaging(sent, consumed *prometheus.CounterVec, operations, processed *prometheus.HistogramVec) messaging {
	return messaging{
		send:  operations.WithLabelValues(system, opSend, opSend, ""),
		taken: sent.WithLabelValues(system, opSend, ""), turned: sent.WithLabelValues(system, opSend, outbound.OutcomeRefused),
		operations: operations, consumed: consumed, processed: processed,
	}
}

// offered counts what a peer has said of offers. One that it releases it had taken.
func (m *messaging) offered(outcome string, n int) {
	switch outcome {
	case outbound.OutcomeHeld:
		m.taken.Add(float64(n))
	case outbound.OutcomeRefused:
		m.turned.Add(float64(n))
	}
}

// operation is what an app does to messages by a request.
type operation struct{ name, kind string }

var operationsOf = map[string]operation{
	"/v1/agents/{agent}/intents":        {opReceive, typeReceive},
	"/v1/agents/{agent}/intents:settle": {"settle", typeSettle},
	"/v1/intents/{id}/ack":              {"ack", typeSettle},
	"/v1/intents/{id}/nack":             {"nack", typeSettle},
	"/v1/intents/{id}/resolve":          {"resolve", typeSettle},
	"/v1/intents/{id}/resume":           {"resume", typeSettle},
}

// operation is where a request counts; nil: it is none.
func (m *messaging) operation(r *api.Served) prometheus.Observer {
	op, is := operationsOf[r.Route]
	if !is {
		return nil
	}
	why := ""
	if r.Status >= http.StatusBadRequest {
		why = status(r.Status)
	}
	return m.operations.WithLabelValues(system, op.name, op.kind, why)
}

// consumption counts the hand-overs of one kind that have ended; nil for a step that
// ends none.
type consumption struct {
	n    prometheus.Counter
	time prometheus.Observer
}

func (m *messaging) consumption(of attempt) consumption {
	if of.move == state.Extend || of.way == journal.ByWord {
		return consumption{}
	}
	op, why := opProcess, ""
	if of.way == journal.ByPoll {
		op = opReceive
	}
	switch {
	case of.move == state.GiveFinal:
	case of.reason != state.NoReason:
		why = of.reason.String()
	default:
		why = outcomes[of.move]
	}
	return consumption{m.consumed.WithLabelValues(system, op, of.agent, why), m.processed.WithLabelValues(system, opProcess, why)}
}

func (c *consumption) take(a *journal.AttemptTally) {
	if c.n == nil {
		return
	}
	c.n.Inc()
	if a.Timed {
		observe(c.time, a.Took, a.Trace)
	}
}
