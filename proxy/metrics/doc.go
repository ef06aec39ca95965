// Package metrics is the page /metrics: what a process counts, in the text formats of
// Prometheus and OpenMetrics.
//
//	events (a batch, a frame) ──▶ counters, histograms ──┐
//	                                                     ├─▶ Page ──▶ GET /metrics
//	figures of the packages ◀── asked at each scrape ────┘
//
// What happens is counted as it happens; what is, is read from the memory of the
// packages when somebody asks. Neither reads the journal's store.
//
// Names are those of OpenTelemetry as its rules bring them to Prometheus:
// pannier.intent.submitted is pannier_intent_submitted_total. Each metric is a
// [Family], said once: the page, and the test of the README's table, are made of it.
//
// # Invariants
//
//   - Every label has a bounded set of values: a closed set of ours, or [Names],
//     which calls what is too many "other". Nothing of an intent is one but the agent
//     it goes to: no id, no type, no key, no URL, no error's text. So what is submitted
//     is one number: types and senders are as many as apps make up, and a cap that calls
//     the rest "other" would name whoever came first. Attempts are told apart by the
//     agent and not by the peer they came from: a holder serves every home alike, and the
//     two together would be the product of both; the way to a peer has its own metrics.
//   - What delays an intent has the code it has in `why` and in events, from the table of
//     journal/state, and every code of the table has its series.
//   - A scrape costs a time that grows with the agents and peers of the sidecar, not
//     with what waits in it.
//
// # Crashes
//
// Counters start at zero with the process, as Prometheus expects. Gauges of what
// waits are counted from the journal at its start.
//
// # What it does not do
//
// It pushes nothing, and counts no signatures: a sidecar signs webhooks, and an app that
// finds one wrong says so by its status (http_client_request_duration_seconds); what it
// checks itself is what peers prove (pannier_auth_failures_total). Exemplars, the last traced duration of each bucket, are shown in
// OpenMetrics only, and only of traces that are exported. Nor is it the SDK of OpenTelemetry, which
// traces use: with its exporter for Prometheus that costs 2 MB of binary, without it
// 0.9 MB, and its histograms want a context and an allocation for each value. The
// registry of Prometheus costs 0.5 MB.
package metrics
