package notify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"pannier/journal"
	"pannier/proxy/api"
	"pannier/proxy/yaml"
)

// Schema is that of the targets in a config file.
var Schema = yaml.ListOf(yaml.Object(map[string]yaml.Schema{
	"name":   yaml.StringSchema.With("Of the target, for people: it is in why, dlq and the log."),
	"type":   yaml.Schema{"enum": []string{KindWebhook, KindSlack, KindMail}},
	"agents": yaml.ListOf(yaml.StringSchema).With("Whose tasks: addresses, \"PREFIX/*\" or \"*\"; all unless given."),
	"events": yaml.ListOf(yaml.Schema{"enum": []string{"assigned", "delegated", "reminded", "escalated", "decided", "expired"}}).With("What is told; unless given, the first four."),

	"url":         yaml.StringSchema.With("Of a webhook."),
	"url_file":    yaml.StringSchema.With("File of the URL, of a chat or a webhook."),
	"secret_file": yaml.StringSchema.With("File of the secret that signs requests to a webhook."),

	"server":        yaml.StringSchema.With("HOST:PORT that takes mail."),
	"tls":           yaml.Schema{"enum": []string{StartTLS, ImplicitTLS, NoTLS}},
	"ca_file":       yaml.StringSchema.With("PEM file of the authorities that vouch for the server; unless given, those of the system."),
	"username":      yaml.StringSchema,
	"password_file": yaml.StringSchema,
	"from":          yaml.StringSchema,
	"to":            yaml.ListOf(yaml.StringSchema).With("Who always gets mail."),
	"people":        yaml.MappingOf(yaml.StringSchema).With("Addresses for mail, by agent or by name among assignees."),
	"notify_email":  yaml.ListOf(yaml.StringSchema).With("Domains within which a task may name where mail goes; \"*\": any."),
}, "name", "type"))

// Read reads the targets of a config file.
func Read(file string, n ast.Node) ([]Target, error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, yaml.ErrorAt(file, n.GetToken(), "notify", fmt.Sprintf("got %s, want a list of {name, type, …}", yaml.KindOf(n)))
	}
	all := make([]Target, 0, len(list.Values))
	var errs []error
	for _, one := range list.Values {
		t, err := readTarget(file, one)
		all, errs = append(all, t), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func readTarget(file string, n ast.Node) (t Target, err error) {
	entries, err := yaml.EntriesOf(file, n)
	if err != nil {
		return t, err
	}
	texts := map[string]*string{
		"name": &t.Name, "type": &t.Kind, "url": &t.URL, "url_file": &t.URLFile, "secret_file": &t.Secret,
		"server": &t.Mail.Server, "tls": &t.Mail.TLS, "ca_file": &t.Mail.CA, "username": &t.Mail.Username, "password_file": &t.Mail.Password, "from": &t.Mail.From,
	}
	known := []string{"agents", "events", "to", "people", "notify_email"}
	for key := range texts {
		known = append(known, key)
	}
	var errs []error
	for _, e := range entries {
		var err error
		switch to := texts[e.Key]; {
		case to != nil:
			*to, err = yaml.String(e.Value)
		case e.Key == "agents":
			t.Agents, err = wordsOf(file, e, api.Grant)
		case e.Key == "events":
			err = t.readTurns(file, e)
		case e.Key == "to":
			t.Mail.To, err = wordsOf(file, e, mailbox)
		case e.Key == "notify_email":
			t.Mail.Domains, err = wordsOf(file, e, domain)
		case e.Key == "people":
			t.Mail.People, err = peopleOf(file, e)
		default:
			err = yaml.ErrorAt(file, e.At, e.Key, "not a setting of a target"+yaml.DidYouMean(e.Key, known))
		}
		if err != nil {
			errs = append(errs, yaml.Placed(err, file, e))
		}
	}
	return t, errors.Join(errs...)
}

// wordsOf reads a list, each item as read says. It is never nil: an empty list that was
// given is not one that was left out.
func wordsOf(file string, e yaml.Entry, read func(string) (string, error)) ([]string, error) {
	items, err := yaml.StringsOf(file, e.Key, e.Value)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, item := range items {
		word, err := read(item.Key)
		if err != nil {
			return nil, yaml.ErrorAt(file, item.At, e.Key, err.Error())
		}
		out = append(out, word)
	}
	return out, nil
}

func (t *Target) readTurns(file string, e yaml.Entry) error {
	words, err := wordsOf(file, e, func(word string) (string, error) {
		if journal.ParseTurn(word) == 0 {
			return "", fmt.Errorf("%.40q is none of assigned, delegated, reminded, escalated, decided, expired", word)
		}
		return word, nil
	})
	t.Turns = []journal.Turn{}
	for _, word := range words {
		t.Turns = append(t.Turns, journal.ParseTurn(word))
	}
	return err
}

func domain(word string) (string, error) {
	if word != "*" && (word == "" || strings.ContainsAny(word, "@ /*")) {
		return "", fmt.Errorf("%.80q is no domain: write what stands behind the @, or \"*\" for any", word)
	}
	return word, nil
}

func peopleOf(file string, e yaml.Entry) (map[string]string, error) {
	entries, err := yaml.EntriesOf(file, e.Value)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, one := range entries {
		to, err := yaml.String(one.Value)
		if err == nil {
			to, err = mailbox(to)
		}
		if err != nil {
			return nil, yaml.Placed(err, file, one)
		}
		// By agent as its tasks name it: with or without agent:// is the same one.
		if agent, err := api.Address(one.Key); err == nil {
			out[agent] = to
		} else {
			out[one.Key] = to
		}
	}
	return out, nil
}
