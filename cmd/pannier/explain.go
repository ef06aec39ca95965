package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
	"pannier/journal/state"
	"pannier/proxy/admin"
	"pannier/proxy/api"
)

// explanation is what `explain` knows of a code: an error of the API or of the admin
// listener, a cause that `why` names, or a reason that events and dead letters have.
type explanation struct {
	Code      string `json:"code"`
	Kind      string `json:"kind"`
	Status    int    `json:"status,omitempty"`
	Category  string `json:"category,omitempty"`
	Retryable *bool  `json:"retryable,omitempty"`
	Title     string `json:"title,omitempty"`
	Means     string `json:"means"`
	Remedy    string `json:"remedy"`
}

const (
	kindError  = "error"
	kindCause  = "cause"
	kindReason = "reason"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "say what a code means, of an error or of why, and what to do; without a code, list all",
		ArgsUsage: "[CODE]", Flags: []cli.Flag{outputFlag()},
		Action: func(c *cli.Context) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			switch c.NArg() {
			case 0:
				return listExplanations(c.App.Writer, asJSON)
			case 1:
				return printExplanations(c.App.Writer, c.Args().First(), asJSON)
			}
			return usageError("explain takes one code, got %d", c.NArg()).withHint("pannier explain [CODE]")
		},
	}
}

// explanations is everything there is to explain, errors first.
func explanations() []explanation {
	var all []explanation
	for _, e := range append(api.Codes(), admin.Codes()...) {
		all = append(all, explanation{e.Code, kindError, e.Status, e.Category, &e.Retryable, e.Title, e.Means, e.Remedy})
	}
	for _, c := range state.Causes() {
		all = append(all, explanation{Code: c.String(), Kind: kindCause, Means: c.Sentence(), Remedy: c.Remedy()})
	}
	for _, r := range state.Reasons() {
		all = append(all, explanation{Code: r.String(), Kind: kindReason, Means: r.Sentence(), Remedy: r.Remedy()})
	}
	// What several reasons are called together, where dead letters are counted.
	return append(all, explanation{
		Code: state.ReasonDeliverBy.DeadLetter(), Kind: kindReason,
		Means:  "A limit of time has passed, its deliver_by or its deadline_at: it is a dead letter.",
		Remedy: "Its events say which of the two; see pannier explain deliver_by_passed and deadline_passed.",
	})
}

func listExplanations(w io.Writer, asJSON bool) error {
	all := explanations()
	if asJSON {
		return json.NewEncoder(w).Encode(all)
	}
	rows := make([][]string, 0, len(all))
	for _, e := range all {
		text := e.Title
		if e.Kind != kindError {
			text = e.Means
		}
		rows = append(rows, []string{e.Code, e.kindText(), text})
	}
	return table(w, []string{"CODE", "OF", "MEANING"}, rows)
}

// kindText says where a code is met.
func (e explanation) kindText() string {
	switch e.Kind {
	case kindCause:
		return "why"
	case kindReason:
		return "reason"
	}
	return fmt.Sprint("error ", e.Status)
}

// printExplanations prints what a code means. One code may be of several kinds, and
// then each is said.
func printExplanations(w io.Writer, code string, asJSON bool) error {
	var found []explanation
	for _, e := range explanations() {
		if e.Code == code {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return unknownCode(code)
	}
	if asJSON {
		return json.NewEncoder(w).Encode(found)
	}
	for i, e := range found {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := e.print(w); err != nil {
			return err
		}
	}
	return nil
}

func (e explanation) print(w io.Writer) error {
	if e.Kind != kindError {
		return pairs(w, "code", e.Code, "of", ofKinds[e.Kind], "means", e.Means, "to do", e.Remedy)
	}
	retry := "no: the same request fails again"
	if *e.Retryable {
		retry = "yes"
	}
	return pairs(w, "code", e.Code, "of", fmt.Sprintf("error, status %d, category %s", e.Status, e.Category),
		"title", e.Title, "means", e.Means, "retry", retry, "to do", e.Remedy)
}

// ofKinds are what codes that are no errors are of.
var ofKinds = map[string]string{kindCause: "why an intent waits", kindReason: "why an attempt or an intent ended, or what became of it"}

func unknownCode(code string) error {
	f := &failure{exit: exitNotFound, what: fmt.Sprintf("%q is no code", code), code: "unknown_code"}
	if _, err := uuid.Parse(code); err == nil {
		return f.withHint("it is an id: see pannier why %s", code)
	}
	if near := nearestCode(code); near != "" {
		return f.withHint("did you mean %s?", near)
	}
	return f.withHint("pannier explain lists all")
}

func nearestCode(typed string) string {
	var codes []string
	for _, e := range explanations() {
		codes = append(codes, e.Code)
	}
	return cmdline.Nearest(strings.ReplaceAll(typed, "-", "_"), codes)
}
