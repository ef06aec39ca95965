package notify_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"pannier/journal/state"
	"pannier/proxy/identity/identitytest"
	"pannier/proxy/notify"
)

// Mail, and above all the password, goes over TLS to the server that an authority of the
// CA file vouches for, and to no other: then it waits, and nothing of it has been said.
func TestMailOverTLS(t *testing.T) {
	t.Parallel()
	ours, others := identitytest.NewCA(t, "ours"), identitytest.NewCA(t, "others")
	here := func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }
	for _, row := range []struct {
		rule, mode string // of the target
		serves     string // of the server: starttls, implicit or none
		by         identitytest.Leaf
		taken      bool
	}{
		{"STARTTLS", notify.StartTLS, notify.StartTLS, ours.Issue(here), true},
		{"STARTTLS unless said otherwise", "", notify.StartTLS, ours.Issue(here), true},
		{"implicit TLS", notify.ImplicitTLS, notify.ImplicitTLS, ours.Issue(here), true},
		{"a server that offers none", notify.StartTLS, notify.NoTLS, ours.Issue(here), false},
		{"STARTTLS by a stranger's authority", notify.StartTLS, notify.StartTLS, others.Issue(here), false},
		{"implicit TLS by a stranger's authority", notify.ImplicitTLS, notify.ImplicitTLS, others.Issue(here), false},
		{"STARTTLS of another host", notify.StartTLS, notify.StartTLS, ours.Issue(nil, "mail.example"), false},
		{"implicit TLS of another host", notify.ImplicitTLS, notify.ImplicitTLS, ours.Issue(nil, "mail.example"), false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{row.by.Cert.Raw}, PrivateKey: row.by.Key}}}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var calls atomic.Int32
			s := &mailServer{Listener: counted{l, &calls}}
			switch row.serves {
			case notify.StartTLS:
				s.tls = config
			case notify.ImplicitTLS:
				s.Listener = tls.NewListener(s.Listener, config)
			}
			s.run(t)
			target := smtpTarget(l.Addr().String())
			target.Mail.TLS, target.Mail.CA = row.mode, filepath.Join(t.TempDir(), "ca.pem")
			identitytest.Replace(t, target.Mail.CA, ours.PEM())
			target.Mail.Username, target.Mail.Password = "pannier", secretFile(t, "tr0mbone")
			w := setup(t, target)
			w.ask(`{"title":"Refund?"}`)
			if row.taken {
				w.wantStatus(w.ended("mail", 1)[0], state.Completed)
				if len(s.taken()) != 1 {
					t.Errorf("%d mails", len(s.taken()))
				}
			} else {
				w.until("it is tried again and again", func() bool { return calls.Load() > 3 })
				if i := w.messages("mail")[0]; i.Status() != state.Submitted || i.Head.Attempts != 0 {
					t.Errorf("it is %s after %d attempts, want it to wait without any", i.Status(), i.Head.Attempts)
				}
			}
			for _, said := range strings.Split(s.commands(), "\n") {
				for _, verb := range []string{"AUTH", "MAIL", "RCPT", "DATA"} {
					if strings.HasPrefix(said, verb) || !row.taken && strings.Contains(said, verb+" ") {
						t.Errorf("said: %s", said)
					}
				}
			}
		})
	}
}

// counted counts the connections.
type counted struct {
	net.Listener
	calls *atomic.Int32
}

func (c counted) Accept() (net.Conn, error) {
	c.calls.Add(1)
	return c.Listener.Accept()
}
