package notify

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"pannier/journal"
	"pannier/proxy/hostport"
	"pannier/proxy/webhook"
)

// Target is where people are told of tasks: one entry of `notify`.
type Target struct {
	Name   string
	Kind   string   // webhook, slack or mail
	Agents []string // whose tasks: addresses, "PREFIX/*" or "*"; empty: all
	Turns  []journal.Turn

	URL     string // webhook
	URLFile string // slack, webhook: a file of the URL, which is a secret there
	Secret  string // webhook: a file of what its requests are signed with; empty: nothing is

	Mail Mail
}

// Mail is how a target of kind mail sends, and to whom.
type Mail struct {
	Server   string // HOST:PORT
	TLS      string // starttls, implicit or none
	CA       string // PEM file of the authorities that vouch for it; empty: those of the system
	Username string // empty: no login
	Password string // a file

	From    string
	To      []string          // always
	People  map[string]string // by whom a task asks: an address, or a name among assignees
	Domains []string          // within which notify_email of a task is believed; "*": any
}

// Kinds of targets.
const (
	KindWebhook = "webhook"
	KindSlack   = "slack"
	KindMail    = "mail"
)

// How a mail server is talked to.
const (
	StartTLS    = "starttls"
	ImplicitTLS = "implicit"
	NoTLS       = "none"
)

const (
	mostTargets = 16
	mostNames   = 1000 // of agents, of people
	mostTo      = 8
)

// usualTurns are told where a target names none: those after which somebody has
// something to do.
var usualTurns = []journal.Turn{journal.TaskAssigned, journal.TaskDelegated, journal.TaskReminded, journal.TaskEscalated}

// Validate returns what is wrong with a list of targets. Their files of secrets are read,
// too: one that cannot be is better known now than at the first task.
func Validate(all []Target) error {
	var errs []error
	if len(all) > mostTargets {
		errs = append(errs, fmt.Errorf("%d targets; use %d at most", len(all), mostTargets))
	}
	seen := map[string]bool{}
	for i := range all {
		t := &all[i]
		if err := t.validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.Name, err))
		}
		if seen[t.Name] {
			errs = append(errs, fmt.Errorf("%s: there are two of that name; what waits for one would go to either", t.Name))
		}
		seen[t.Name] = true
	}
	return errors.Join(errs...)
}

const nameBytes = "abcdefghijklmnopqrstuvwxyz0123456789-"

func (t *Target) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if t.Name == "" || len(t.Name) > 63 || strings.Trim(t.Name, nameBytes) != "" {
		wrong("name: use 1 to 63 lower-case letters, digits and -")
	}
	if len(t.Agents) > mostNames {
		wrong("agents: %d; use %d at most", len(t.Agents), mostNames)
	}
	isMail := t.Kind == KindMail
	for _, f := range []struct {
		key    string
		given  bool
		belong bool
	}{
		{"url", t.URL != "", t.Kind == KindWebhook}, {"url_file", t.URLFile != "", !isMail}, {"secret_file", t.Secret != "", t.Kind == KindWebhook},
		{"server", t.Mail.Server != "", isMail}, {"tls", t.Mail.TLS != "", isMail}, {"ca_file", t.Mail.CA != "", isMail}, {"username", t.Mail.Username != "", isMail},
		{"password_file", t.Mail.Password != "", isMail}, {"from", t.Mail.From != "", isMail}, {"to", t.Mail.To != nil, isMail}, {"people", t.Mail.People != nil, isMail},
		{"notify_email", t.Mail.Domains != nil, isMail},
	} {
		if f.given && !f.belong && slices.Contains([]string{KindWebhook, KindSlack, KindMail}, t.Kind) {
			wrong("%s: means nothing for a target of type %s", f.key, t.Kind)
		}
	}
	switch t.Kind {
	case KindWebhook, KindSlack:
		errs = append(errs, t.validatePost())
	case KindMail:
		errs = append(errs, t.Mail.validate())
	default:
		wrong("type: %q; use webhook, slack or mail", t.Kind)
	}
	return errors.Join(errs...)
}

func (t *Target) validatePost() error {
	if t.Kind == KindSlack && t.URLFile == "" {
		return errors.New("url_file: missing; who knows the URL of a chat can write there, so it is read from a file of its own")
	}
	if (t.URL == "") == (t.URLFile == "") {
		return errors.New("url: give it, or url_file with a file that it is in, and one of them only")
	}
	if _, err := t.url(); err != nil {
		return err
	}
	_, err := t.secrets()
	return err
}

// url is where the target is called.
func (t *Target) url() (string, error) {
	if t.URLFile == "" {
		if err := webhook.CheckURL(t.URL); err != nil {
			return "", fmt.Errorf("url: %w", err)
		}
		return t.URL, nil
	}
	text, err := secretOf("url_file", t.URLFile)
	if err == nil && webhook.CheckURL(text) != nil {
		err = fmt.Errorf("url_file: what %s says is not an http:// or https:// URL (it is not shown)", t.URLFile)
	}
	return text, err
}

func (t *Target) secrets() ([]webhook.Secret, error) {
	if t.Secret == "" {
		return nil, nil
	}
	text, err := secretOf("secret_file", t.Secret)
	if err != nil {
		return nil, err
	}
	s, err := webhook.ParseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("secret_file: %s: %w", t.Secret, err)
	}
	return []webhook.Secret{s}, nil
}

func (m *Mail) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := hostport.Dial(m.Server); err != nil {
		wrong("server: %w", err)
	}
	switch m.TLS {
	case "", StartTLS, ImplicitTLS:
	case NoTLS:
		if m.Username != "" && !hostport.OnLoopback(m.Server) {
			wrong("tls: none, and a password would be sent beyond loopback for all to read; use starttls or implicit")
		}
	default:
		wrong("tls: %q; use starttls (port 587), implicit (port 465) or none", m.TLS)
	}
	if (m.Username == "") != (m.Password == "") {
		wrong("username, password_file: one without the other; a login takes both")
	}
	if m.Password != "" {
		if _, err := secretOf("password_file", m.Password); err != nil {
			errs = append(errs, err)
		}
	}
	if m.CA != "" {
		if _, err := m.authorities(); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		wrong("from: %q is no address; write name@domain or \"Name <name@domain>\"", m.From)
	} else if _, err := mailbox(sender(m.From).Address); err != nil {
		wrong("from: %w", err)
	}
	if len(m.To) > mostTo || len(m.People) > mostNames || len(m.Domains) > mostNames {
		wrong("to, people, notify_email: use %d addresses, %d people and %d domains at most", mostTo, mostNames, mostNames)
	}
	if len(m.To)+len(m.People)+len(m.Domains) == 0 {
		wrong("to: nobody would get mail; give to, people or notify_email")
	}
	for _, to := range m.To {
		if _, err := mailbox(to); err != nil {
			wrong("to: %w", err)
		}
	}
	for name, to := range m.People {
		if _, err := mailbox(to); err != nil {
			wrong("people: %s: %w", name, err)
		}
	}
	return errors.Join(errs...)
}

// sender is a From that has been checked.
func sender(from string) *mail.Address {
	a, err := mail.ParseAddress(from)
	if err != nil {
		return &mail.Address{}
	}
	return a
}

const maxMailbox = 254 // RFC 5321, 4.5.3.1.3: a path of 256, with its brackets

// mailbox reads an address that mail is sent to: name@domain, and nothing around it.
func mailbox(text string) (string, error) {
	a, err := mail.ParseAddress(text)
	plain := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("<>()\"\\,;:", r) }) < 0
	if err != nil || a.Address != text || !plain || len(text) > maxMailbox {
		return "", fmt.Errorf("%.80q is not an address of the form name@domain", text)
	}
	return text, nil
}
