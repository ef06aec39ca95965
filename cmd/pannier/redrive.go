package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/urfave/cli/v2"
)

// redriveChunk is how long one request may redrive: then it is seen how far it is.
const redriveChunk = 5 * time.Second

func dlqRedriveCommand() *cli.Command {
	return &cli.Command{
		Name: "redrive", ArgsUsage: "ID…",
		Usage: "make a successor for each dead letter: one may be changed, many go at a rate",
		Flags: append(append(adminFlags(), deadFlags()...),
			&cli.BoolFlag{Name: "all", Usage: "all that have no successor"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say how many, and show a few"},
			&cli.IntFlag{Name: "rate", Value: 50, Usage: "`N` a second, up to 1000"},
			&cli.StringFlag{Name: "data", Usage: "of one: another `PAYLOAD`: a JSON object, -, or a file"},
			&cli.StringFlag{Name: "new-to", Usage: "of one, at its home: another `AGENT`"},
			&cli.StringFlag{Name: "deliver-by", Usage: "of one: to be taken by `TIME`, or within a duration; else as long as its sender gave"},
		),
		Action: onDead(func(c *cli.Context, cl *client, chosen deadSelection) error {
			edit, edited, err := readEdit(c)
			switch {
			case err != nil:
				return err
			case c.Bool("dry-run") && edited:
				return usageError("--dry-run changes nothing, so --data, --new-to and --deliver-by mean nothing beside it: leave them out")
			case c.Bool("dry-run"):
				return redriveNone(c, cl, chosen)
			case len(chosen.IDs) == 1:
				return redriveOne(c, cl, chosen.IDs[0], edit)
			case edited:
				return usageError("--data, --new-to and --deliver-by change one dead letter: give its id")
			case c.Int("rate") < 1 || c.Int("rate") > 1000:
				return usageError("--rate %d is not from 1 to 1000", c.Int("rate"))
			}
			return redriveMany(c, cl, chosen)
		}),
	}
}

type redriveEdit struct {
	Payload   json.RawMessage `json:"payload,omitempty"`
	ToAgent   string          `json:"to_agent,omitempty"`
	DeliverBy string          `json:"deliver_by,omitempty"`
}

func readEdit(c *cli.Context) (e redriveEdit, edited bool, err error) {
	if c.IsSet("data") {
		if e.Payload, err = readPayload(c, nil); err != nil {
			return e, false, err
		}
	}
	if to := c.String("new-to"); to != "" {
		e.ToAgent = agentAddress(to)
	}
	if by := c.String("deliver-by"); by != "" {
		if e.DeliverBy, err = moment("deliver-by", by, time.Now()); err != nil {
			return e, false, err
		}
	}
	return e, e.Payload != nil || e.ToAgent != "" || e.DeliverBy != "", nil
}

func redriveOne(c *cli.Context, cl *client, id string, edit redriveEdit) error {
	body, err := cl.call(c.Context, request{
		doing: "redrive " + id, lists: "dlq list", method: http.MethodPost, path: deadPath + "/" + url.PathEscape(id) + "/redrive", body: edit,
		wait: 5 * time.Second, // the holder asks the home sidecar
	})
	if err != nil {
		return err
	}
	return present(c, cl, body, func(w io.Writer, a struct {
		ID string `json:"intent_id"`
	}) error {
		_, err := fmt.Fprintln(w, a.ID)
		return err
	})
}

// redriveNone says what would be redriven.
func redriveNone(c *cli.Context, cl *client, chosen deadSelection) error {
	body, err := cl.call(c.Context, request{
		doing: "count dead letters", method: http.MethodPost, path: deadPath + "/redrive",
		body: struct {
			deadSelection
			DryRun bool `json:"dry_run"`
		}{chosen, true},
		wait: time.Minute,
	})
	if err != nil {
		return err
	}
	if cl.format != formatText {
		return printJSON(c.App.Writer, body)
	}
	var dry purgeAnswer
	if err := json.Unmarshal(body, &dry); err != nil {
		return fmt.Errorf("read the answer of %s: %w", cl.target, err)
	}
	sayWhich(c, dry, "redriven")
	for _, f := range dry.Failed {
		talk(c, "%s would not be redriven: %s [%s]", printable(f.ID), printable(f.Message), printable(f.Code))
	}
	return nil
}

type redriveAnswer struct {
	Redriven []redrivenLine `json:"redriven"`
	Failed   []failedLine   `json:"failed"`
	Until    string         `json:"until,omitempty"`
	Next     string         `json:"next_cursor,omitempty"`
}

type redrivenLine struct {
	ID         string `json:"intent_id"`
	RedrivenAs string `json:"redriven_as"`
}

type failedLine struct {
	ID      string `json:"intent_id"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// redriveMany asks for a few seconds' worth at a time. Interrupted, it has done what
// it has printed and perhaps those under way; run again, it goes on with the rest.
func redriveMany(c *cli.Context, cl *client, chosen deadSelection) error {
	rate := c.Int("rate")
	chunk := max(1, min(1000, rate*int(redriveChunk/time.Second)))
	sum := redriveAnswer{Redriven: []redrivenLine{}, Failed: []failedLine{}}
	var err error
	for cursor := ""; err == nil; {
		part := chosen
		if part.Filter == nil {
			part.IDs = chosen.IDs[:min(chunk, len(chosen.IDs))]
			chosen.IDs = chosen.IDs[len(part.IDs):]
		}
		var got redriveAnswer
		if got, err = redriveSome(c, cl, part, cursor, rate, chunk); err != nil {
			break
		}
		sum.Redriven, sum.Failed = append(sum.Redriven, got.Redriven...), append(sum.Failed, got.Failed...)
		if cl.format == formatText {
			for _, r := range got.Redriven {
				fmt.Fprintf(c.App.Writer, "%s %s\n", printable(r.ID), printable(r.RedrivenAs))
			}
		}
		for _, f := range got.Failed {
			talk(c, "%s failed: %s [%s]", printable(f.ID), printable(f.Message), printable(f.Code))
		}
		if cursor = got.Next; part.Filter != nil && got.Until != "" {
			(*part.Filter)["until"] = got.Until // what dies meanwhile is not meant
		}
		if cursor == "" && len(chosen.IDs) == 0 {
			break
		}
		talk(c, "%d redriven, %d failed so far", len(sum.Redriven), len(sum.Failed))
	}
	return redriveDone(c, cl, sum, err)
}

func redriveSome(c *cli.Context, cl *client, part deadSelection, cursor string, rate, limit int) (got redriveAnswer, err error) {
	body, err := cl.call(c.Context, request{
		doing: "redrive dead letters", method: http.MethodPost, path: deadPath + "/redrive",
		body: struct {
			deadSelection
			Rate   int    `json:"rate_per_second"`
			Limit  int    `json:"limit"`
			Cursor string `json:"cursor,omitempty"`
		}{part, rate, limit, cursor},
		wait: redriveChunk + time.Minute, // and homes that are slow to answer
	})
	if err != nil {
		return got, err
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return got, fmt.Errorf("read the answer of %s: %w", cl.target, err)
	}
	return got, nil
}

// redriveDone says how many went and which failed, also when it was cut short.
func redriveDone(c *cli.Context, cl *client, sum redriveAnswer, err error) error {
	if cl.format != formatText {
		out, jerr := encode(sum)
		if jerr != nil {
			return jerr
		}
		if jerr := printJSON(c.App.Writer, out); jerr != nil {
			return jerr
		}
	}
	talk(c, "%d redriven, %d failed", len(sum.Redriven), len(sum.Failed))
	switch {
	case err != nil:
		return err
	case len(sum.Failed) > 0:
		return &failure{
			exit: exitPartly, what: fmt.Sprintf("%d of %s were not redriven", len(sum.Failed), plural(len(sum.Failed)+len(sum.Redriven), "dead letter")), code: "partly_failed",
		}
	}
	return nil
}
