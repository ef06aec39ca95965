package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/urfave/cli/v2"

	"pannier/cmd/build"
	"pannier/proxy/webhook"
)

// appOf is the app that a listener stands for: one at a URL, one of a script, or none.
func appOf(c *cli.Context, lease time.Duration) (app, error) {
	to, script := c.String("forward"), c.String("respond")
	switch {
	case to != "" && script != "":
		return nil, usageError("either --forward or --respond answers, not both")
	case (to != "" || script != "") && !c.Bool("ack"):
		return nil, usageError("--ack=false is for who answers by hand, and here an app does")
	case to != "":
		return newForwarder(c, to, lease)
	case script != "":
		return newScript(script)
	}
	return byHand(c.Bool("ack")), nil
}

// byHand says done of everything, or leaves that to a person.
type byHand bool

func (byHand) await(context.Context) {}

func (ack byHand) answer(_ context.Context, h *handed) reply {
	if !ack {
		return reply{none: true}
	}
	return reply{said: "acknowledged", Forwarded: webhook.Forwarded{Settle: "ack"}}
}

// script answers each intent with its statuses, one after the other.
type script struct {
	statuses []int
	mu       struct {
		sync.Mutex
		asked map[string]int // by intent that is not done
	}
}

// scriptMost bounds the intents whose place in the script is remembered.
const scriptMost = 10_000

func newScript(text string) (*script, error) {
	s := &script{}
	s.mu.asked = map[string]int{}
	for _, word := range strings.Split(text, ",") {
		status, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || status < 200 || status > 599 {
			return nil, usageError("--respond %s: %q is no status of an answer", text, word).withHint("give some of 200 to 599, with commas between: --respond 503,500,200")
		}
		s.statuses = append(s.statuses, status)
	}
	return s, nil
}

func (*script) await(context.Context) {}

func (s *script) answer(_ context.Context, h *handed) reply {
	s.mu.Lock()
	n := s.mu.asked[h.ID]
	if _, known := s.mu.asked[h.ID]; known || len(s.mu.asked) < scriptMost {
		s.mu.asked[h.ID] = n + 1
	}
	s.mu.Unlock()
	status := s.statuses[min(n, len(s.statuses)-1)]
	r := replied(status, http.Header{}, nil, h)
	if r.Settle == "ack" || r.Reject { // it does not come again
		s.mu.Lock()
		delete(s.mu.asked, h.ID)
		s.mu.Unlock()
	}
	return r
}

func replied(status int, header http.Header, body []byte, h *handed) reply {
	return reply{
		said:      strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status))),
		Forwarded: webhook.Judge(status, header, body, h.Redelivered, time.Now()),
	}
}

// forwarder posts to an app as a sidecar does.
type forwarder struct {
	url     string
	address string // host and port of it
	client  *http.Client
	secrets []webhook.Secret
	talk    func(format string, args ...any)

	mu struct {
		sync.Mutex
		down bool // nothing listened there the last time
	}
}

// maxReply bounds what is read of an answer, as for a sidecar.
const maxReply = 1 << 20

func newForwarder(c *cli.Context, to string, lease time.Duration) (*forwarder, error) {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usageError("--forward %s is no URL of an app", to).withHint("give one such as http://127.0.0.1:3000/intents")
	}
	timeout := c.Duration("timeout")
	if timeout <= 0 || timeout+2*leaseMargin > lease {
		return nil, usageError("--timeout %s does not fit into --lease %s", timeout, lease).withHint("a lease of %s does", timeout+3*leaseMargin)
	}
	f := &forwarder{url: to, address: u.Host, talk: func(format string, args ...any) { talk(c, format, args...) }}
	if u.Port() == "" {
		f.address = net.JoinHostPort(u.Hostname(), u.Scheme)
	}
	f.mu.down = true // until it was seen
	f.client = &http.Client{
		Timeout: timeout, Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if len(c.StringSlice("secret")) == 0 {
		f.talk("what is forwarded is not signed: --secret / PANNIER_WEBHOOK_SECRET signs it")
		return f, nil
	}
	f.secrets, err = secretsOf(c)
	return f, err
}

// await returns once something listens at the URL, where the last time nothing did.
func (f *forwarder) await(ctx context.Context) {
	told := false
	for pause := awayFirst; f.isDown() && ctx.Err() == nil; pause = min(2*pause, reconnectMost) {
		d := net.Dialer{Timeout: reconnectMost}
		conn, err := d.DialContext(ctx, "tcp", f.address)
		if err == nil {
			conn.Close()
			f.setDown(false)
			return
		}
		if !told && ctx.Err() == nil {
			f.talk("nothing listens at %s: nothing is taken until something does", f.url)
			told = true
		}
		sleep(ctx, pause)
	}
}

func (f *forwarder) isDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.down
}

func (f *forwarder) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.down = down
}

func (f *forwarder) answer(ctx context.Context, h *handed) reply {
	body, err := pushBody(h.raw)
	if err != nil {
		return reply{said: err.Error(), Forwarded: webhook.Forwarded{Settle: "nack", Reason: "it cannot be forwarded: " + err.Error()}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return reply{said: err.Error(), Forwarded: webhook.Forwarded{Settle: "nack", Reason: err.Error()}}
	}
	req.GetBody = nil // or the transport would send it a second time by itself, and nobody would count that
	webhook.Describe(req.Header, "Pannier/"+build.This().Version, h.First, h.Attempt, time.Now(), body, f.secrets...)
	if h.Traceparent != "" {
		req.Header.Set("Traceparent", h.Traceparent)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return f.unanswered(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return f.unanswered(fmt.Errorf("its answer broke off: %w", err))
	}
	if len(said) > maxReply {
		return f.unanswered(fmt.Errorf("its answer is larger than %d bytes", maxReply))
	}
	return replied(resp.StatusCode, resp.Header, said, h)
}

// unanswered is a failed attempt, unless the app cannot have seen the request.
func (f *forwarder) unanswered(err error) reply {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	r := reply{said: err.Error(), Forwarded: webhook.Forwarded{Reason: err.Error()}}
	var dialing *net.OpError
	if errors.As(err, &dialing) && dialing.Op == "dial" {
		f.setDown(true)
		return r
	}
	r.Settle = "nack"
	return r
}

// pushBody is a hand-over as an app that receives by http is sent it: without its lease and its number in
// the log, and every other byte as it came.
func pushBody(item []byte) ([]byte, error) {
	d := jsontext.NewDecoder(bytes.NewReader(item))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	out := []byte{'{'}
	for d.PeekKind() == '"' {
		name, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		written := string(name)
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		switch written {
		case `"lease_id"`, `"lease_until"`, `"seq"`:
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, written...), ':'), value...)
	}
	return append(out, '}'), nil
}
