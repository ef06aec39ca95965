package notify_test

import (
	"os"
	"strings"
	"testing"

	"pannier/proxy/notify"
)

// What is wrong with a target is said at the start, by its field, and never with a secret.
func TestTargetsAreChecked(t *testing.T) {
	t.Parallel()
	const secret = "hush-hush-hush-hush"
	open := secretFile(t, secret)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	closed := secretFile(t, secret)
	hook := func(change func(*notify.Target)) []notify.Target {
		one := notify.Target{Name: "hook", Kind: notify.KindWebhook, URL: "https://audit.example/"}
		change(&one)
		return []notify.Target{one}
	}
	mail := func(change func(*notify.Mail)) []notify.Target {
		one := smtpTarget("smtp.example:587")
		one.Mail.TLS = ""
		change(&one.Mail)
		return []notify.Target{one}
	}
	for _, row := range []struct {
		rule string
		all  []notify.Target
		want string // empty: nothing is wrong
	}{
		{"a webhook", hook(func(*notify.Target) {}), ""},
		{"mail", mail(func(*notify.Mail) {}), ""},
		{"two of a name", append(hook(func(*notify.Target) {}), hook(func(*notify.Target) {})...), "two of that name"},
		{"a name with a colon", hook(func(x *notify.Target) { x.Name = "a:b" }), "name: use 1 to 63"},
		{"no type", hook(func(x *notify.Target) { x.Kind = "" }), "use webhook, slack or mail"},
		{"a password in the URL", hook(func(x *notify.Target) { x.URL = "https://ann:" + secret + "@audit.example/" }), "url: a URL with a password"},
		{"the URL of a chat in the open", hook(func(x *notify.Target) { x.Kind = notify.KindSlack }), "url_file: missing"},
		{"a file that others read", hook(func(x *notify.Target) { x.Secret = open }), "secret_file: " + open + " has mode 0644"},
		{"a file that is no URL", hook(func(x *notify.Target) { x.URL, x.URLFile = "", closed }), "is not an http:// or https:// URL (it is not shown)"},
		{"a file that is not there", mail(func(x *notify.Mail) { x.Username, x.Password = "p", "/nowhere" }), "password_file: "},
		{"a field of another type", hook(func(x *notify.Target) { x.Mail.From = "a@b.c" }), "from: means nothing for a target of type webhook"},
		{"a password for all to read", mail(func(x *notify.Mail) { x.TLS, x.Username, x.Password = notify.NoTLS, "p", closed }), "tls: none, and a password would be sent"},
		{"a login without a password", mail(func(x *notify.Mail) { x.Username = "p" }), "username, password_file: one without the other"},
		{"nobody", mail(func(x *notify.Mail) { x.People, x.Domains = nil, nil }), "to: nobody would get mail"},
		{"a sender with a header", mail(func(x *notify.Mail) { x.From = "a@b.c\r\nBcc: d@e.f" }), "from: "},
		{"no authorities", mail(func(x *notify.Mail) { x.CA = closed }), "has no certificate in PEM"},
	} {
		err := notify.Validate(row.all)
		switch {
		case err == nil && row.want != "", err != nil && (row.want == "" || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v, want %q", row.rule, err, row.want)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("%s: a secret is shown: %v", row.rule, err)
		}
	}
}
