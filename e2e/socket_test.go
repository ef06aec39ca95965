package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// rawAnswer is one response read from a connection.
type rawAnswer struct {
	status int
	header http.Header
	body   []byte
}

func (a rawAnswer) code() string { return answer{body: a.body}.errorCode() }

// canary is a request after which the sidecar closes the connection. What stands
// before it in the bytes has answers before its own: one too many or one too few
// and somebody's request was read as another's.
const canary = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

// talk writes bytes to the app API and reads answers until the sidecar closes.
func (s *sidecar) talk(write func(io.Writer)) []rawAnswer {
	s.t.Helper()
	c, err := net.Dial("tcp", s.api)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	written := make(chan struct{})
	go func() { // it answers before it has read all
		defer close(written)
		write(c)
	}()
	var got []rawAnswer
	r := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			break // closed, or nothing that is HTTP: the caller counts
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			break
		}
		got = append(got, rawAnswer{res.StatusCode, res.Header, body})
		if res.Close {
			break
		}
	}
	c.Close() // whoever still writes is told
	<-written
	return got
}

func (s *sidecar) say(raw string) []rawAnswer {
	s.t.Helper()
	return s.talk(func(w io.Writer) { io.WriteString(w, raw) }) // an error is the sidecar's closing
}

func statuses(got []rawAnswer) string {
	var all []string
	for _, a := range got {
		all = append(all, fmt.Sprint(a.status))
	}
	return strings.Join(all, " ")
}

// request writes one with the lines given, a body and its length.
func rawRequest(line, body string, headers ...string) string {
	headers = append([]string{line, "Host: localhost"}, headers...)
	if body != "" {
		headers = append(headers, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body)))
	}
	return strings.Join(headers, "\r\n") + "\r\n\r\n" + body
}

const (
	rawIntent  = `{"intent_type":"order.v1","to_agent":"agent://acme/prod/nowhere","payload":{}}`
	rawPost    = "POST /v1/intents HTTP/1.1"
	rawChunks  = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
	rawUnknown = "/v1/intents/01890a5d-ac96-774b-bcce-b302099a8057"
)

// chunked is a body in one chunk.
func chunked(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }

// socketRow is a request as no client library writes it. want are the statuses
// of all answers, the canary's too where the connection lives on.
type socketRow struct {
	raw   string
	want  string
	code  string // of the first answer; "": not a problem document, or any
	makes int    // intents
}

// socketRows are rows that decide as their canonical form does, or are refused.
func socketRows() map[string]socketRow {
	head := rawPost + "\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	get := func(path string) string { return rawRequest("GET "+path+" HTTP/1.1", "") + canary }
	post := func(body string, headers ...string) string { return rawRequest(rawPost, body, headers...) + canary }
	withID := func(id string) string { return strings.Replace(rawIntent, "{", `{"correlation_id":"`+id+`",`, 1) }
	smuggled := rawRequest("POST /v1/intents/bulk-cancel HTTP/1.1", `{"older_than_hours":0}`)
	return map[string]socketRow{
		"canonical":       {post(rawIntent), "200 200", "", 1},
		"two in one":      {rawRequest(rawPost, rawIntent) + post(rawIntent), "200 200 200", "", 2},
		"bare LF":         {strings.ReplaceAll(rawRequest(rawPost, rawIntent), "\r\n", "\n") + canary, "200 200", "", 1},
		"chunked":         {head + "Transfer-Encoding: chunked\r\n\r\n" + chunked(rawIntent) + canary, "200", "", 1},
		"chunk extension": {head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Replace(chunked(rawIntent), "\r\n", ";a=b\r\n", 1) + canary, "200", "", 1},
		"a trailer is no header": {
			head + "Transfer-Encoding: chunked\r\nTrailer: Pannier-Durability\r\n\r\n" + strings.TrimSuffix(chunked(rawIntent), "\r\n") + "Pannier-Durability: both\r\n\r\n" + canary,
			"200", "", 1,
		},

		// Who says how long a body is: the smuggler's question. With both, the chunks say
		// it, and net/http drops the length before we could see it: nothing that comes
		// after chunks on a connection is read.
		"length and chunked":        {head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(rawIntent) + canary, "200", "", 1},
		"chunked and length":        {head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunked(rawIntent) + canary, "200", "", 1},
		"two lengths":               {head + "Content-Length: 5\r\nContent-Length: 78\r\n\r\n" + rawIntent + canary, "400", "", 0},
		"one length twice":          {head + "Content-Length: 78\r\nContent-Length: 78\r\n\r\n" + rawIntent + canary, "200 200", "", 1},
		"two lengths in a line":     {head + "Content-Length: 78, 78\r\n\r\n" + rawIntent + canary, "400", "", 0},
		"a length with a sign":      {head + "Content-Length: +78\r\n\r\n" + rawIntent + canary, "400", "", 0},
		"a length below zero":       {head + "Content-Length: -1\r\n\r\n" + rawIntent + canary, "400", "", 0},
		"a length in hex":           {head + "Content-Length: 0x4e\r\n\r\n" + rawIntent + canary, "400", "", 0},
		"a length beyond all":       {head + "Content-Length: 99999999999999999999\r\n\r\n" + rawIntent + canary, "400", "", 0},
		"chunked twice":             {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(rawIntent) + canary, "501", "", 0},
		"chunked, and not last":     {head + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunked(rawIntent) + canary, "501", "", 0},
		"gzip, chunked":             {head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(rawIntent) + canary, "501", "", 0},
		"nearly chunked":            {head + "Transfer-Encoding: xchunked\r\n\r\n" + chunked(rawIntent) + canary, "501", "", 0},
		"chunked by a vertical tab": {head + "Transfer-Encoding: \x0bchunked\r\n\r\n" + chunked(rawIntent) + canary, "400", "", 0},
		"chunked in HTTP/1.0":       {strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n" + chunked(rawIntent) + canary, "400", "invalid_json", 0},
		"a chunk size that wraps":   {head + "Transfer-Encoding: chunked\r\n\r\n1000000000000004e\r\n" + rawIntent + "\r\n0\r\n\r\n" + canary, "400", "invalid_request", 0},
		"a chunk size with a sign":  {head + "Transfer-Encoding: chunked\r\n\r\n-4e\r\n" + rawIntent + "\r\n0\r\n\r\n" + canary, "400", "invalid_request", 0},
		"a chunk longer than said":  {head + "Transfer-Encoding: chunked\r\n\r\n4\r\n" + rawIntent + "\r\n0\r\n\r\n" + canary, "400", "invalid_request", 0},
		"space before the colon":    {head + "Transfer-Encoding : chunked\r\n\r\n" + chunked(rawIntent) + canary, "400", "", 0},
		"a header folded":           {head + "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 78\r\n\r\n" + rawIntent + canary, "200 200", "", 1},
		"a first line folded":       {rawPost + "\r\n Host: localhost\r\n\r\n" + canary, "400", "", 0},
		"a bare CR in a header":     {head + "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 78\r\n\r\n" + rawIntent + canary, "400", "", 0},
		"a GET with a request inside": {
			"GET /v1/intents HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + fmt.Sprint(len(smuggled)) + "\r\n\r\n" + smuggled + canary, "200 200", "", 0,
		},
		"a refused POST with a request inside": {rawRequest("POST /v1/nothing HTTP/1.1", smuggled) + canary, "404 200", "route_not_found", 0},

		// Whose request it is.
		"no host":                      {"GET /health HTTP/1.1\r\n\r\n" + canary, "400", "", 0},
		"two hosts":                    {"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n" + canary, "400", "", 0},
		"an empty host":                {"GET /v1/intents HTTP/1.1\r\nHost:\r\n\r\n" + canary, "403 200", "host_not_allowed", 0},
		"a host with a user":           {"GET /v1/intents HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n" + canary, "400", "", 0},
		"HTTP/1.0 without a host":      {"POST /v1/intents HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 78\r\n\r\n" + rawIntent, "403", "host_not_allowed", 0},
		"absolute, another's":          {get("http://evil.example/v1/intents"), "403 200", "host_not_allowed", 0},
		"absolute, ours":               {rawRequest("POST http://localhost/v1/intents HTTP/1.1", rawIntent) + canary, "200 200", "", 1},
		"absolute, unclean":            {rawRequest("POST http://localhost//v1/intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"absolute, another scheme":     {rawRequest("POST file://localhost/v1/intents HTTP/1.1", rawIntent) + canary, "200 200", "", 1},
		"two origins":                  {post(rawIntent, "Origin: http://localhost", "Origin: http://evil.example"), "400 200", "invalid_request", 0},
		"fetched by two sites":         {post(rawIntent, "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"), "400 200", "invalid_request", 0},
		"two owners":                   {post(rawIntent, "X-Owner-Agent: a", "X-Owner-Agent: b"), "400 200", "invalid_request", 0},
		"two owners in the query":      {rawRequest("POST /v1/intents?owner_agent=a&owner_agent=b HTTP/1.1", rawIntent) + canary, "400 200", "invalid_request", 0},
		"two keys":                     {post(rawIntent, "Idempotency-Key: a", "Idempotency-Key: b"), "400 200", "invalid_request", 0},
		"two types":                    {post(rawIntent, "Content-Type: text/plain"), "415 200", "unsupported_media_type", 0},
		"an option twice":              {post(rawIntent, "Pannier-Durability: local", "Pannier-Durability: receiver"), "400 200", "invalid_request", 0},
		"connect":                      {"CONNECT localhost:7400 HTTP/1.1\r\nHost: localhost\r\n\r\n" + canary, "404 200", "route_not_found", 0},
		"options of all":               {"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n" + canary, "404 200", "route_not_found", 0},
		"an upgrade to h2c":            {post(rawIntent, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), "200 200", "", 1},
		"an upgrade to a socket":       {rawRequest("GET /v1/intents HTTP/1.1", "", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==") + canary, "200 200", "", 0},
		"HTTP/0.9":                     {"GET /v1/intents\r\n", "400", "", 0},
		"HTTP/9.9":                     {"GET /v1/intents HTTP/9.9\r\nHost: localhost\r\n\r\n", "505", "", 0},
		"a method of another case":     {rawRequest("post /v1/intents HTTP/1.1", rawIntent) + canary, "405 200", "method_not_allowed", 0},
		"a method in a header":         {rawRequest("GET /v1/intents HTTP/1.1", "", "X-HTTP-Method-Override: DELETE") + canary, "200 200", "", 0},
		"what was expected is unknown": {post(rawIntent, "Expect: the-unexpected"), "417", "", 0},

		// Which route it is.
		"two slashes":               {rawRequest("POST /v1//intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"two slashes in front":      {rawRequest("POST //v1/intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"a slash at the end":        {rawRequest("POST /v1/intents/ HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"a dot":                     {rawRequest("POST /v1/./intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"two dots":                  {rawRequest("POST /health/../v1/intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"two dots and a semicolon":  {rawRequest("POST /health/..;/v1/intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"two dots, escaped":         {rawRequest("POST /health/%2e%2e/v1/intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"a slash, escaped":          {rawRequest("POST /v1%2fintents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"a slash escaped twice":     {get("/v1/intents%252f01890a5d-ac96-774b-bcce-b302099a8057"), "404 200", "route_not_found", 0},
		"dots and slash, escaped":   {rawRequest("POST /health/..%2fv1%2fintents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"a parameter of the path":   {rawRequest("POST /v1/intents;a=b HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"a backslash":               {rawRequest(`POST /v1\intents HTTP/1.1`, rawIntent) + canary, "404 200", "route_not_found", 0},
		"another case":              {rawRequest("POST /V1/Intents HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"a fragment":                {rawRequest("POST /v1/intents#a HTTP/1.1", rawIntent) + canary, "404 200", "route_not_found", 0},
		"an agent of empty parts":   {rawRequest("POST /v1/agents/a//b/intents/t HTTP/1.1", rawIntent) + canary, "422 200", "invalid_agent_address", 0},
		"an agent of dots":          {rawRequest("POST /v1/agents/a/../intents/t HTTP/1.1", rawIntent) + canary, "422 200", "invalid_agent_address", 0},
		"an agent of dots, escaped": {rawRequest("POST /v1/agents/a%2f..%2fb/intents/t HTTP/1.1", rawIntent) + canary, "422 200", "invalid_agent_address", 0},
		"an agent with NUL":         {rawRequest("POST /v1/agents/a%00/intents/t HTTP/1.1", rawIntent) + canary, "422 200", "invalid_agent_address", 0},
		"an agent escaped twice":    {rawRequest("POST /v1/agents/a%252fb/intents/t HTTP/1.1", rawIntent) + canary, "422 200", "invalid_agent_address", 0},
		"an agent, escaped":         {rawRequest("POST /v1/agents/agent%3A%2F%2Facme%2Fprod%2Fbilling/intents/t HTTP/1.1", rawIntent) + canary, "200 200", "", 1},

		// Which intent it is.
		"NUL in the id":             {get("/v1/intents/%00"), "404 200", "intent_not_found", 0},
		"NUL behind the id":         {get(rawUnknown + "%00"), "404 200", "intent_not_found", 0},
		"bad UTF-8 in the id":       {get("/v1/intents/%ff%fe"), "404 200", "intent_not_found", 0},
		"overlong UTF-8 in the id":  {get("/v1/intents/%c0%af"), "404 200", "intent_not_found", 0},
		"a slash in the id":         {get("/v1/intents/a%2fb"), "404 200", "intent_not_found", 0},
		"half an escape":            {get("/v1/intents/%4"), "400", "", 0},
		"NUL in the path":           {get("/v1/intents/\x00"), "400", "", 0},
		"a space in the path":       {get("/v1/intents/a b"), "400", "", 0},
		"NUL in a header":           {post(rawIntent, "Idempotency-Key: a\x00b"), "400", "", 0},
		"bad UTF-8 in a key":        {post(rawIntent, "Idempotency-Key: \xff"), "400 200", "invalid_request", 0},
		"NUL in a correlation id":   {post(withID(`a\u0000b`)), "422 200", "schema_invalid", 0},
		"an escape sequence in one": {post(withID(`a\u001b[2Jb`)), "422 200", "schema_invalid", 0},
		"half a surrogate in one":   {post(withID(`a\ud800b`)), "400 200", "invalid_json", 0},
		"NUL, raw, in one":          {post(withID("a\x00b")), "400 200", "invalid_json", 0},
		"bad UTF-8 in one":          {post(withID("a\xffb")), "400 200", "invalid_json", 0},
		"NUL in an agent":           {post(strings.Replace(rawIntent, "nowhere", `no\u0000where`, 1)), "422 200", "invalid_agent_address", 0},
		"NUL in a type":             {post(strings.Replace(rawIntent, "order", `or\u0000der`, 1)), "422 200", "schema_invalid", 0},

		// How much it is.
		"64 KiB of a header":         {post(rawIntent, "X-A: "+strings.Repeat("a", 64<<10)), "431", "", 0},
		"64 KiB of headers":          {post(rawIntent, slices.Repeat([]string{"X-A: b"}, 8<<10)...), "431", "", 0},
		"64 KiB of a path":           {get("/v1/intents/" + strings.Repeat("a", 64<<10)), "431", "", 0},
		"8 KiB of a path":            {get("/v1/intents/" + strings.Repeat("a", 8<<10)), "404 200", "intent_not_found", 0},
		"8 KiB of trace id":          {post(rawIntent, "X-Trace-Id: "+strings.Repeat("a", 8<<10)), "200 200", "", 1},
		"a body said to be huge":     {rawRequest(rawPost, "", "Content-Type: application/json", "Content-Length: 1099511627776"), "413", "payload_too_large", 0},
		"expecting a huge one":       {rawRequest(rawPost, "", "Expect: 100-continue", "Content-Type: application/json", "Content-Length: 1099511627776"), "413", "payload_too_large", 0},
		"JSON of 100,000 levels":     {post(`{"intent_type":"a","to_agent":"b","payload":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_001)), "400 200", "invalid_json", 0},
		"100,000 open brackets":      {post(strings.Repeat("[", 100_000)), "400 200", "invalid_json", 0},
		"a gzip bomb":                {post(bomb(), "Content-Encoding: gzip"), "415 200", "unsupported_media_type", 0},
		"a coding nobody knows":      {post(rawIntent, "Content-Encoding: identity, br"), "415 200", "unsupported_media_type", 0},
		"200,000 members":            {post(`{"intent_type":"a","to_agent":"b","payload":{}` + manyMembers(60_000) + `}`), "422 200", "schema_invalid", 0},
		"a number of 100,000 digits": {post(`{"intent_type":"a","to_agent":"b","payload":{},"max_delivery_attempts":` + strings.Repeat("9", 100_000) + `}`), "422 200", "schema_invalid", 0},
	}
}

// bomb is 512 MiB in half a MiB.
func bomb() string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	block := make([]byte, 1<<20)
	for range 512 {
		w.Write(block)
	}
	w.Close()
	return b.String()
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%x":1`, i)
	}
	return b.String()
}

// TestRawRequests: a request that is not what it looks like decides as its canonical
// form does, or is refused; what is refused writes nothing, and nobody's bytes
// become another request.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	for name, row := range socketRows() {
		had := len(s.list("limit=200"))
		got := s.say(row.raw)
		if statuses(got) != row.want {
			t.Errorf("%s: answered %s, want %s: %s", name, statuses(got), row.want, lastBody(got))
			continue
		}
		if row.code != "" && got[0].code() != row.code {
			t.Errorf("%s: the code is %q, want %q: %s", name, got[0].code(), row.code, got[0].body)
		}
		if made := len(s.list("limit=200")) - had; made != row.makes {
			t.Errorf("%s: made %d intents, want %d", name, made, row.makes)
		}
		for _, a := range got {
			checkRaw(t, name, a)
		}
		if row.makes == 0 {
			s.writesNothing(name, row)
		}
	}
}

// writesNothing says it again until no batch is written meanwhile: the journal
// has writes of its own now and then, and a row that writes does so each time.
func (s *sidecar) writesNothing(name string, row socketRow) {
	s.t.Helper()
	eventually(s.t, name+" to write nothing", func() error {
		before := s.journalSeq()
		s.say(row.raw)
		if after := s.journalSeq(); after != before {
			return fmt.Errorf("%d batches", after-before)
		}
		return nil
	})
}

func lastBody(got []rawAnswer) string {
	if len(got) == 0 {
		return "no answer"
	}
	return tail(string(got[len(got)-1].body), 300)
}

// checkRaw: an answer is a JSON object or a problem document, but for what is no
// HTTP: that never reaches our handlers, and net/http refuses it in a word of text.
func checkRaw(t *testing.T, name string, a rawAnswer) {
	t.Helper()
	media := a.header.Get("Content-Type")
	if strings.HasPrefix(media, "text/plain") && slices.Contains([]int{400, 417, 431, 501, 505}, a.status) || a.status == 417 {
		return
	}
	object := map[string]json.RawMessage{}
	if len(a.body) > 0 && json.Unmarshal(a.body, &object) != nil {
		t.Errorf("%s: %d is no JSON object: %s", name, a.status, a.body)
	}
	if want := map[bool]string{true: "application/json", false: "application/problem+json"}[a.status < 300]; media != want {
		t.Errorf("%s: %d has the Content-Type %q, want %q", name, a.status, media, want)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s: %d has no X-Request-Id", name, a.status)
	}
}

// TestEndlessBodies: bodies that never end, or that grow when they are unpacked,
// take no memory beyond the limit, and are refused while they are sent.
func TestEndlessBodies(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	s.takeNothing(billing, 0)
	before, seq := s.procField("RssAnon"), s.journalSeq()
	const clients, rounds, most = 8, 4, 64 << 20
	chunk := []byte(fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10)))
	refused := make(chan error, clients)
	for range clients {
		go func() {
			var err error
			for range rounds {
				sent := 0
				got := s.talk(func(w io.Writer) {
					io.WriteString(w, rawPost+"\r\nHost: localhost\r\n"+rawChunks+"\r\n")
					for werr := error(nil); werr == nil && sent < most; sent += len(chunk) {
						_, werr = w.Write(chunk)
					}
				})
				if statuses(got) != "413" || sent >= most {
					err = fmt.Errorf("answered %q after %d bytes, want 413 long before", statuses(got), sent)
				}
			}
			refused <- err
		}()
	}
	peak := before
	for left := clients; left > 0; {
		select {
		case err := <-refused:
			left--
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Millisecond):
			peak = max(peak, s.procField("RssAnon"))
		}
	}
	// A MiB a client is buffered, in a buffer that doubles, and the collector lets
	// garbage grow to as much again.
	if grown := peak - before; grown > 128<<20 {
		t.Errorf("%d clients made it grow by %.0f MiB", clients, mib(grown))
	}
	t.Logf("figure: %d clients with endless bodies take %.0f MiB", clients, mib(peak-before))
	if after := s.journalSeq(); after != seq {
		t.Errorf("%d batches were written", after-seq)
	}
}

// TestForeignHostOverHTTP2: with prior knowledge the authority is the host.
func TestForeignHostOverHTTP2(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for host, want := range map[string]int{"localhost": 200, "evil.example": 403} {
		a := call(client, "http://"+s.api, "POST", "/v1/intents", rawIntent, "Host", host)
		if a.code != want {
			t.Errorf("Host %s: %v, want %d", host, a, want)
		}
	}
}
