package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"pannier/journal"
	"pannier/proxy/webhook"
)

const (
	dialTime  = 5 * time.Second
	idleTime  = 4 * time.Second // shorter than servers keep a connection, or a request would meet its end
	maxAnswer = 4 << 10         // of which a reason is made
)

// post sends to a URL that the configuration names. It is called wherever it is: unlike
// that of a subscription it is no app's word. No proxy, no redirects.
type post struct {
	target    Target
	userAgent string
	client    *http.Client
}

func newPost(t Target, userAgent string, dial webhook.Dial) *post {
	return &post{t, userAgent, &http.Client{
		Transport: &http.Transport{
			DialContext: dial.With(&net.Dialer{Timeout: dialTime}), TLSHandshakeTimeout: dialTime,
			IdleConnTimeout: idleTime, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// carry makes one request. Any 2xx is a success; all else is as for an app's webhook.
//
// If we crash once the server has it and before that is durable, it is sent again under
// the same webhook-id.
func (p *post) carry(ctx context.Context, h *journal.Handed) webhook.Forwarded {
	req, err := p.request(ctx, h)
	if err != nil {
		return untaken(err) // a file of a secret, which somebody can mend
	}
	var wrote atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }}))
	resp, err := p.client.Do(req)
	switch {
	case err != nil && wrote.Load():
		return webhook.Forwarded{Settle: "nack", Reason: why(err)}
	case err != nil:
		return untaken(errors.New(why(err)))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode/100 == 2:
		return webhook.Forwarded{Settle: "ack"}
	case err != nil:
		return webhook.Forwarded{Settle: "nack", Reason: "its answer broke off: " + why(err)}
	}
	return webhook.Judge(resp.StatusCode, resp.Header, body, h.Redelivered, time.Now())
}

func untaken(err error) webhook.Forwarded { return webhook.Forwarded{Reason: err.Error()} }

func (p *post) request(ctx context.Context, h *journal.Handed) (*http.Request, error) {
	to, err := p.target.url()
	if err != nil {
		return nil, err
	}
	secrets, err := p.target.secrets()
	if err != nil {
		return nil, err
	}
	body := h.Envelope.Payload
	if p.target.Kind == KindSlack {
		body = slack(readNews(body))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the URL cannot be called") // and may be a secret
	}
	req.GetBody = nil // or the transport would repeat it by itself, and nobody would count that
	webhook.Describe(req.Header, p.userAgent, first(h), h.Attempt, time.Now(), body, secrets...)
	return req, nil
}

// first is the id of a message, or of that which it repeats by hand.
func first(h *journal.Handed) string {
	if id, err := journal.IDOf(h.Envelope.FirstId); err == nil && len(h.Envelope.FirstId) > 0 {
		return id.String()
	}
	return h.ID.String()
}

// why is an error of a request without its URL, which may be a secret.
func why(err error) string {
	var unverified *tls.CertificateVerificationError
	var wrapped *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &unverified):
		return "its certificate is not trusted: " + unverified.Error()
	case errors.As(err, &wrapped):
		return wrapped.Err.Error()
	}
	return err.Error()
}

// readNews reads a message as it was written. One that cannot be read says nothing, and
// is sent as that.
func readNews(payload []byte) (n News) {
	_ = json.Unmarshal(payload, &n)
	return n
}

// slack is a message as chats take it: {"text": …}, which Slack, Mattermost, Rocket.Chat
// and others read. In what senders have written nothing is markup: & < and > are what
// Slack asks to escape, and what else would format (* _ ~ ` and links) is broken by a
// space that is not seen.
func slack(n News) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "*%s* %s", headline(&n), chatText(n.Data.Title))
	if n.Data.URL != "" {
		fmt.Fprintf(&b, "\n<%s>", n.Data.URL)
	}
	for _, l := range lines(&n) {
		// As in a mail: what goes on in a further line looks like no line of ours.
		fmt.Fprintf(&b, "\n%s: %s", l.name, strings.ReplaceAll(chatText(l.said), "\n", "\n    "))
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]string{"text": b.String()}); err != nil {
		panic(err) // a text always encodes
	}
	return bytes.TrimSpace(out.Bytes())
}

// unseen is a word joiner: what it stands in is no mark of a chat's, and no address.
const unseen = "\u2060"

var chatText = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;",
	"*", "*"+unseen, "_", "_"+unseen, "~", "~"+unseen, "`", "`"+unseen, "@", "@"+unseen, "://", ":"+unseen+"//", "[", "["+unseen, "]", "]"+unseen,
).Replace
