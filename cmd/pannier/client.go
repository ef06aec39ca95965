package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// answerTime is how long any answer may take, on top of what a request asks the sidecar to wait.
const answerTime = 30 * time.Second

// client talks to one listener of one sidecar.
type client struct {
	http   *http.Client
	base   string // scheme and host of every URL
	target string // as the user named it, for messages
	how    string // how to name another one, for messages
	key    string
	format format
}

// appAddress are the flags that say which app API is asked, and as whom.
func appAddress() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "addr", Value: "127.0.0.1:7400", EnvVars: []string{"PANNIER_ADDR"}, Usage: "app API of the sidecar: `HOST:PORT` or unix:PATH"},
		&cli.StringFlag{Name: "key", EnvVars: []string{"PANNIER_API_KEY"}, Usage: "API `KEY`, where the sidecar asks for one"},
	}
}

// appFlags are the flags of every verb that talks to the app API and prints an answer.
func appFlags() []cli.Flag { return append(appAddress(), outputFlag(), colourFlag()) }

// adminFlags are the flags of every verb that talks to the admin listener.
func adminFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "admin", Value: "127.0.0.1:7402", EnvVars: []string{"PANNIER_ADMIN"}, Usage: "admin listener of the sidecar: `HOST:PORT`"},
		outputFlag(),
		colourFlag(),
	}
}

func appClient(c *cli.Context) (*client, error) {
	return newClient(c, c.String("addr"), howAddr)
}

func adminClient(c *cli.Context) (*client, error) {
	return newClient(c, c.String("admin"), "--admin / PANNIER_ADMIN")
}

const howAddr = "--addr / PANNIER_ADDR"

// verb is what a command does once it has a client and as many arguments as its help names.
type verb func(c *cli.Context, cl *client, args []string) error

func onApp(do verb) cli.ActionFunc { return withClient(appClient, do) }

func onAdmin(do verb) cli.ActionFunc { return withClient(adminClient, do) }

func withClient(dial func(*cli.Context) (*client, error), do verb) cli.ActionFunc {
	return func(c *cli.Context) error {
		cl, err := dial(c)
		if err != nil {
			return err
		}
		args, err := exactArgs(c)
		if err != nil {
			return err
		}
		return do(c, cl, args)
	}
}

func newClient(c *cli.Context, target, how string) (*client, error) {
	format, err := formatOf(c)
	if err != nil {
		return nil, err
	}
	cl, err := unformatted(c, target, how)
	if err != nil {
		return nil, err
	}
	cl.format = format
	return cl, nil
}

// unformatted is a client of a verb that has formats of its own.
func unformatted(c *cli.Context, target, how string) (*client, error) {
	if target == "" {
		return nil, usageError("no address of a sidecar").withHint("set %s to HOST:PORT", how)
	}
	cl := clientOf(target)
	cl.how, cl.key = how, c.String("key")
	return cl, nil
}

// clientOf talks to HOST:PORT or unix:PATH.
func clientOf(target string) *client {
	transport := &http.Transport{} // no proxy from the environment: a sidecar is a neighbour
	base := "http://" + strings.TrimRight(strings.TrimPrefix(target, "http://"), "/")
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	}
	return &client{http: &http.Client{Transport: transport}, base: base, target: target}
}

// request is one call. doing says in the imperative what it is for: errors begin "cannot <doing>".
type request struct {
	doing  string
	method string
	path   string
	query  url.Values
	header http.Header
	body   any
	wait   time.Duration // how long the sidecar may hold the answer back on purpose
	lists  string        // the verb that lists what can be named here; empty: list
}

// call makes a request and returns the whole answer. Its size is what the user asked for with a
// limit, so it is not cut here.
func (cl *client) call(ctx context.Context, r request) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime+r.wait)
	defer cancel()
	resp, err := cl.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, cl.unreachable(ctx, err)
	}
	return body, nil
}

// open makes a request and returns the answer with its body still to be read; a refusal is an error.
func (cl *client) open(ctx context.Context, r request) (*http.Response, error) {
	req, err := cl.build(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := cl.http.Do(req)
	if err != nil {
		return nil, cl.unreachable(ctx, err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, cl.refusal(r, resp)
	}
	return resp, nil
}

func (cl *client) build(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		encoded, err := encode(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	target := cl.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, usageError("%q is not an address of a sidecar", cl.target).withHint("set %s to HOST:PORT", cl.how)
	}
	if r.header != nil {
		req.Header = r.header
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if cl.key != "" {
		req.Header.Set("x-api-key", cl.key)
	}
	return req, nil
}

// encode leaves <, > and & in a payload as the user wrote them.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// unreachable explains a request that got no answer, or only a part of one.
func (cl *client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	why := err.Error()
	var errno syscall.Errno
	var wrapped *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		why = "no answer in time"
	case errors.As(err, &errno):
		why = errno.Error()
	case errors.As(err, &wrapped):
		why = wrapped.Err.Error()
	}
	return &failure{
		exit: exitUnreachable, what: "cannot reach the sidecar at " + cl.target, why: why,
		hint: fmt.Sprintf("start one with \"pannier dev\", or set %s", cl.how), code: "sidecar_unreachable",
	}
}

// problem is the part of an application/problem+json answer that people read.
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Error  struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// maxProblem bounds what is read of a refusal: something other than a sidecar may be listening.
const maxProblem = 1 << 20

// refusal turns an answer that is not 2xx into an error.
func (cl *client) refusal(r request, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	var p problem
	if err != nil || json.Unmarshal(body, &p) != nil {
		return &failure{
			exit: exitForStatus(resp.StatusCode), status: resp.StatusCode, what: "cannot " + r.doing,
			why:  fmt.Sprintf("%s answered %s, not as a sidecar would", cl.target, resp.Status),
			hint: "check " + cl.how, code: "not_a_sidecar",
		}
	}
	f := &failure{
		exit: exitForStatus(resp.StatusCode), status: resp.StatusCode, what: "cannot " + r.doing,
		why: firstOf(p.Detail, p.Error.Message, p.Title, resp.Status), code: p.Error.Code,
		hint: cl.hintFor(r, resp, p.Error.Code),
	}
	if cl.format != formatText {
		f.raw = bytes.TrimRight(body, "\n")
	}
	return f
}

// hintFor says what to do about a refusal, where there is one thing to do.
func (cl *client) hintFor(r request, resp *http.Response, code string) string {
	switch after := resp.Header.Get("Retry-After"); {
	case after != "":
		return "try again in " + after + " s"
	case resp.StatusCode == http.StatusUnauthorized:
		return "set --key / PANNIER_API_KEY"
	case code == "route_not_found", code == "not_found":
		return cl.target + " is not the listener that this is asked of; set " + cl.how
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Sprintf("\"pannier %s\" shows what %s has; to ask another sidecar, set %s", firstOf(r.lists, "list"), cl.target, cl.how)
	case code == "idempotency_conflict":
		return "send what was sent with this key before, or take another"
	}
	return ""
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
