package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	// settleFor is how long a refusal must stand before it is told: what is applied
	// together comes one by one.
	settleFor = 2 * time.Second
	// eventTimeout is for one event. One that cannot be written is lost: the log has it.
	eventTimeout = 5 * time.Second
	// maxTold bounds the refusals that are told of.
	maxTold = 1_000
)

// events tells the owners of refused Services why: an Event each, and a line in the
// log.
type events struct {
	api    rest.Interface
	log    *slog.Logger
	settle time.Duration // settleFor
	wake   chan struct{}
	mu     struct {
		sync.Mutex
		refused []refusal
	}
}

func newEvents(api rest.Interface, log *slog.Logger) *events {
	return &events{api: api, log: log, settle: settleFor, wake: make(chan struct{}, 1)}
}

// refusals is all that is refused now.
func (e *events) refusals(now []refusal) {
	e.mu.Lock()
	e.mu.refused = now[:min(len(now), maxTold)]
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default: // the loop is about to look
	}
}

// run tells each refusal once for as long as it stands, until ctx ends.
func (e *events) run(ctx context.Context) {
	since := map[string]time.Time{} // when each was first seen; zero: it was told
	look := time.NewTimer(e.settle)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-look.C:
		}
		e.mu.Lock()
		refused := e.mu.refused
		e.mu.Unlock()
		if e.tell(ctx, refused, since, time.Now()) {
			look.Reset(e.settle)
		}
	}
}

// tell tells what has stood long enough. It reports whether something has not yet.
func (e *events) tell(ctx context.Context, refused []refusal, since map[string]time.Time, now time.Time) (waiting bool) {
	standing := make(map[string]bool, len(refused))
	for _, r := range refused {
		key := r.key()
		standing[key] = true
		first, seen := since[key]
		switch {
		case !seen:
			since[key], waiting = now, true
		case first.IsZero():
		case now.Sub(first) < e.settle:
			waiting = true
		default:
			since[key] = time.Time{}
			e.log.Warn("service without an agent address", "service", r.service.Namespace+"/"+r.service.Name, "reason", r.reason, "err", r.text)
			if err := e.write(ctx, r, now); err != nil && ctx.Err() == nil {
				e.log.Warn("event not written", "service", r.service.Namespace+"/"+r.service.Name, "err", err)
			}
		}
	}
	for key := range since {
		if !standing[key] {
			delete(since, key)
		}
	}
	return waiting
}

// key is the same for the same refusal of the same Service, at every replica.
func (r refusal) key() string {
	sum := sha256.Sum256([]byte(string(r.service.UID) + "\x00" + r.reason + "\x00" + r.text))
	return hex.EncodeToString(sum[:8])
}

// maxEventText is what the API server takes for a note.
const maxEventText = 1024

// brief cuts what may be as long as an annotation, or as an API server likes: it goes
// into events, the log, the page for operators, and what sidecars are told.
func brief(text string) string {
	if len(text) <= maxEventText {
		return text
	}
	const more = "…"
	return strings.ToValidUTF8(text[:maxEventText-len(more)], "") + more
}

// write creates the Event. Its name is the refusal's, so that of several replicas,
// and after a restart, there is one: nothing needs the right to change any.
func (e *events) write(ctx context.Context, r refusal, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	at := meta.NewTime(now)
	err := e.api.Post().Namespace(r.service.Namespace).Resource("events").Body(&core.Event{
		ObjectMeta: meta.ObjectMeta{Namespace: r.service.Namespace, Name: r.service.Name + "." + r.key()},
		InvolvedObject: core.ObjectReference{
			APIVersion: "v1", Kind: "Service", Namespace: r.service.Namespace, Name: r.service.Name, UID: r.service.UID, ResourceVersion: r.service.ResourceVersion,
		},
		Type: core.EventTypeWarning, Reason: r.reason, Message: r.text,
		Source: core.EventSource{Component: component}, FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}).Do(ctx).Error()
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
