package outbound

import (
	"pannier/journal"
	"pannier/journal/wire"
)

// Tracer shows others what becomes of offers and redrives. Its methods return at
// once, whatever becomes of what they have to say. Safe concurrently.
type Tracer interface {
	// Send begins the span of an offer that is about to be written to an address.
	Send(o *journal.Offer, agent, address string) Span
	// Redrive begins that of a redrive and gives it to the successor as the context
	// of its creation.
	Redrive(r *journal.Redrive, original *wire.Envelope) Span
}

// Span is one of them under way. It ends once.
type Span interface {
	// Traceparent is what the other side hangs its spans on; empty: on nothing.
	Traceparent() string
	// End says what came of it: a code, empty where all is well.
	End(code string)
}

// SetTracer makes the dispatcher show its offers. Called before Run.
func (d *Dispatcher) SetTracer(t Tracer) { d.tracer = t }

// untraced is for a dispatcher nobody looks at.
type untraced struct{}

func (untraced) Send(*journal.Offer, string, string) Span      { return untraced{} }
func (untraced) Redrive(*journal.Redrive, *wire.Envelope) Span { return untraced{} }
func (untraced) Traceparent() string                           { return "" }
func (untraced) End(string)                                    {}

// What ends the span of an offer but an answer.
const (
	spanCut       = "stream_broke" // the holder may have it, and owes the answer
	spanUnwritten = "not_sent"
	spanReleased  = "released"
)

// trace begins the spans of offers that are about to be written: with no lock held,
// so that what is slow in it keeps up nobody but this writer.
func (d *Dispatcher) trace(s *session, flights []*flight) []Span {
	spans, offers := make([]Span, len(flights)), make([]journal.Offer, len(flights))
	d.mu.Lock()
	for i, f := range flights {
		offers[i] = f.offer // one that has ended meanwhile has no envelope any more
	}
	d.mu.Unlock()
	for i, f := range flights {
		if spans[i] = (untraced{}); offers[i].Envelope != nil {
			spans[i] = d.tracer.Send(&offers[i], f.dest.name, s.link.address)
		}
	}
	return spans
}

// endSpan ends the span of an offer, if it has one. Called with mu held.
func (f *flight) endSpan(code string) {
	if f.span != nil {
		f.span.End(code)
		f.span = nil
	}
}
