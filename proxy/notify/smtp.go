package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"time"

	"pannier/journal"
	"pannier/proxy/hostport"
	"pannier/proxy/watch"
	"pannier/proxy/webhook"
)

// mailer has one session for each mail: a task is rare, and a kept connection one more
// thing that can have gone away.
type mailer struct {
	m    Mail
	dial webhook.Dial
}

// smtpBusy is how long a server that says it is closing (421) is left alone.
const smtpBusy = 30 * time.Second

// carry brings one mail to the server.
//
// If we crash once the server has taken it and before that is durable, it is sent again
// under the same Message-ID.
func (s *mailer) carry(ctx context.Context, h *journal.Handed) webhook.Forwarded {
	n := readNews(h.Envelope.Payload)
	to, err := mailbox(n.To)
	if err != nil {
		return webhook.Forwarded{Settle: "nack", Reject: true, Reason: err.Error()}
	}
	c, err := s.session(ctx)
	if err != nil {
		return shut(s.m.Server, err)
	}
	defer c.Close()
	from := sender(s.m.From)
	if err := c.Mail(from.Address); err != nil {
		return shut(s.m.Server, err) // it would refuse every mail of ours
	}
	switch err := hand(c, to, letter(&n, from, first(h), time.Now())); {
	case err == nil:
		// Taken; what the server says to goodbye changes nothing.
		_ = c.Quit()
		return webhook.Forwarded{Settle: "ack"}
	case codeOf(err) == smtpClosing:
		return shut(s.m.Server, err)
	case codeOf(err)/100 == 5:
		return webhook.Forwarded{Settle: "nack", Reject: true, Reason: s.m.Server + " refuses it: " + words(err)}
	default:
		return webhook.Forwarded{Settle: "nack", Reason: s.m.Server + ": " + words(err)}
	}
}

const smtpClosing = 421 // RFC 5321, 3.8: in answer to any command

// shut is for what the server, or our login there, is to blame for: nothing was taken.
func shut(server string, err error) webhook.Forwarded {
	f := webhook.Forwarded{Reason: server + ": " + words(err)}
	if codeOf(err)/100 == 4 {
		f.Pause = smtpBusy
	}
	return f
}

func codeOf(err error) int {
	var said *textproto.Error
	if errors.As(err, &said) {
		return said.Code
	}
	return 0
}

const mostReason = 300

// words are an error as a reason: those of the server where it has answered.
func words(err error) string {
	var said *textproto.Error
	if errors.As(err, &said) {
		return line(fmt.Sprintf("%d %s", said.Code, said.Msg), mostReason)
	}
	return line(why(err), mostReason)
}

// hand gives the server one mail.
func hand(c *smtp.Client, to string, text []byte) error {
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Close() // the server's word on all of it
}

// session opens a connection on which mail may be given. It ends when ctx does.
func (s *mailer) session(ctx context.Context) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(s.m.Server)
	if err != nil {
		return nil, err
	}
	conn, err := s.dial.With(&net.Dialer{Timeout: dialTime})(ctx, "tcp", s.m.Server)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if until, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(until); err != nil {
			return nil, err
		}
	}
	c, err := s.greet(conn, host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (s *mailer) greet(conn net.Conn, host string) (*smtp.Client, error) {
	trust, err := s.m.authorities()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: host, RootCAs: trust, MinVersion: tls.VersionTLS12}
	if s.m.TLS == ImplicitTLS {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, err
	}
	if err := c.Hello(ourName()); err != nil {
		return nil, err
	}
	if s.m.TLS == StartTLS || s.m.TLS == "" {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, errors.New("it offers no STARTTLS; for a server on port 465 set tls: implicit")
		}
		if err := c.StartTLS(config); err != nil {
			return nil, err
		}
	}
	if s.m.Username == "" {
		return c, nil
	}
	password, err := secretOf("password_file", s.m.Password)
	if err != nil {
		return nil, err
	}
	if err := c.Auth(smtp.PlainAuth("", s.m.Username, password, host)); err != nil {
		return nil, fmt.Errorf("login of %s: %w", s.m.Username, err)
	}
	return c, nil
}

// ourName is what we greet with: servers that know no localhost turn that away.
func ourName() string {
	name, err := os.Hostname()
	if err != nil || hostport.Dial(net.JoinHostPort(name, "25")) != nil {
		return "localhost"
	}
	return name
}

// authorities are those of the CA file; nil: those of the system.
func (m *Mail) authorities() (*x509.CertPool, error) {
	if m.CA == "" {
		return nil, nil
	}
	text, err := watch.ReadBounded(m.CA)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_file: %s has no certificate in PEM", m.CA)
	}
	return pool, nil
}

// Couriers are what takes messages to the targets, by address.
func (r *Rules) Couriers(userAgent string, dial webhook.Dial) map[string]webhook.Courier {
	all := map[string]webhook.Courier{}
	for _, t := range r.Targets {
		carry := newPost(t, userAgent, dial).carry
		if t.Kind == KindMail {
			carry = (&mailer{t.Mail, dial}).carry
		}
		all[journal.NotifyAddress(t.Name)] = carry
	}
	return all
}
