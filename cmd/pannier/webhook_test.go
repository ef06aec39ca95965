package main

import (
	"strings"
	"testing"
)

const (
	hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hookBody   = `{"test": 2432232314}`
)

// What sign prints, with the body behind it, is what verify takes.
func TestWebhookSignAndVerify(t *testing.T) {
	t.Parallel()
	signed := pannier(t, hookBody, "webhook", "sign", "-", "--secret", hookSecret, "--id", "msg_1")
	if signed.exit != 0 || strings.Count(signed.stdout, "\n") != 4 || !strings.Contains(signed.stdout, "webhook-id: msg_1\n") {
		t.Fatalf("sign: %+v", signed)
	}
	request := "POST /hook HTTP/1.1\nHost: app\n" + signed.stdout + "\n" + hookBody
	for _, row := range []struct {
		rule, request, secret string
		exit                  int
		want                  string
	}{
		{"as it came", request, hookSecret, 0, "valid\n"},
		{"with CRLF in its headers", strings.ReplaceAll(request, "\n", "\r\n"), hookSecret, 0, "valid\n"},
		{"without a request line", signed.stdout + "\n" + hookBody, hookSecret, 0, "valid\n"},
		{"another secret", request, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", exitRefused, "the secret is another"},
		{"a body written anew", strings.Replace(request, hookBody, `{"test":2432232314}`, 1), hookSecret, exitRefused, "the bytes as they came"},
		{"no signature", "Host: app\n\n" + hookBody, hookSecret, exitRefused, "is missing"},
		{"not a request", hookBody, hookSecret, exitUsage, "it begins with its headers"},
		{"a secret that was cut", request, "whsec_MfKQ", exitUsage, "24 to 64 bytes"},
	} {
		got := pannier(t, row.request, "webhook", "verify", "-", "--secret", row.secret)
		if got.exit != row.exit || !strings.Contains(got.stdout+got.stderr, row.want) {
			t.Errorf("%s: exit %d, %s%s; want %d and %q", row.rule, got.exit, got.stdout, got.stderr, row.exit, row.want)
		}
	}
	if got := pannier(t, request, "webhook", "verify", "-"); got.exit != exitUsage || !strings.Contains(got.stderr, "PANNIER_WEBHOOK_SECRET") {
		t.Errorf("without a secret: %+v", got)
	}
	if got := pannier(t, hookBody, "webhook", "sign", "-", "--secret", hookSecret); got.exit != exitUsage || !strings.Contains(got.stderr, "--id") {
		t.Errorf("without an id: %+v", got)
	}
}
