package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"pannier/journal/state"
)

func approvalDemo() *cli.Command {
	return &cli.Command{
		Name: "approval", Usage: "manager and finance approve an invoice before billing is given it: by you, or by itself",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "approve it as both, without waiting for you; so it does where the output is no terminal"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "wait this `DURATION` for you"},
		},
		Action: func(c *cli.Context) error {
			if c.Duration("timeout") <= 0 {
				return usageError("--timeout %s leaves you no time", c.Duration("timeout")).withHint("give a duration such as 10m, or --yes")
			}
			a := approvalPlay{alone: c.Bool("yes"), patience: c.Duration("timeout")}
			if f, ok := c.App.Writer.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
				a.alone = true
			}
			return demonstrate(c, a.play)
		},
	}
}

// approvalPlay is an invoice that two people are to approve.
type approvalPlay struct {
	*stage
	alone    bool // nobody is there who could decide
	patience time.Duration
}

// invoice is what is to be approved.
var invoice = createBody{
	IntentType: "invoice.pay.v1", ToAgent: "billing",
	Payload:  json.RawMessage(`{"supplier":"Nordwind GmbH","amount":"912.40 EUR"}`),
	Delivery: deliveryOptions{Gates: devPeople},
}

func (p approvalPlay) play(ctx context.Context, s *stage) error {
	p.stage = s
	id, err := p.send(ctx, invoice)
	if err != nil {
		return err
	}
	body, err := encode(invoice)
	if err != nil {
		return err
	}
	p.say("1. orders has billing pay an invoice, if manager and finance approve it. That is one request:")
	p.say("     curl %s/v1/intents -H 'Content-Type: application/json' -d '%s'", p.orders.info.API, oneLine(body))
	p.say("   It is on disk as intent %s, and its sender waits:", id)
	p.say("     pannier wait %s --addr %s", id, p.orders.info.API)
	for i, who := range devPeople {
		passed, err := p.decide(ctx, i+2, id, who)
		if err != nil {
			return err
		}
		if !passed {
			return p.end(ctx, len(devPeople)+2, id, "It is refused, and billing is never given it")
		}
	}
	given, err := p.work(ctx, 1)
	if err != nil {
		return err
	}
	return p.end(ctx, len(devPeople)+2, id, "billing is given it, "+times(given[id])+", and pays")
}

// decide has one person decide, and reports whether that was in favour.
func (p approvalPlay) decide(ctx context.Context, step int, id, who string) (passed bool, err error) {
	why, err := p.why(ctx, id)
	if err != nil {
		return false, err
	}
	task, err := p.asked(ctx, id)
	if err != nil {
		return false, err
	}
	p.say("%d. %s", step, why.Text)
	p.say("   %s decides in a browser, or on the command line:", who)
	p.say("     http://%s/tasks/%s", p.orders.info.Admin, task)
	p.say("     pannier inbox approve %s --as %s --addr %s", task, who, p.orders.info.API)
	if p.alone {
		if _, err := p.orders.call(ctx, request{
			doing: "approve", method: http.MethodPost, path: intentPath(task) + "/resume", query: map[string][]string{"owner_agent": {who}},
			body: json.RawMessage(`{"task_result":{"outcome":"approved","comment":"within budget"}}`),
		}); err != nil {
			return false, err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	last, err := p.orders.follow(waiting, task, 0, func(event) error { return nil })
	switch {
	case waiting.Err() != nil && ctx.Err() == nil:
		return false, &failure{exit: exitTimeout, what: who + " has not decided in " + p.patience.String(), hint: "take longer with --timeout, or have it decide by itself with --yes", code: "wait_timeout"}
	case err != nil:
		return false, err
	}
	passed = last.Status == state.Completed.String()
	if passed {
		p.say("   %s has approved it.", who)
	} else {
		p.say("   %s has not approved it.", who)
	}
	return passed, nil
}

// asked is the task that an intent waits for just now.
func (p approvalPlay) asked(ctx context.Context, id string) (string, error) {
	answer, err := p.orders.call(ctx, request{doing: "look at " + id, method: http.MethodGet, path: intentPath(id)})
	if err != nil {
		return "", err
	}
	var now struct {
		Intent struct {
			With struct{ Ref string } `json:"pending_with"`
		}
	}
	err = json.Unmarshal(answer, &now)
	return now.Intent.With.Ref, err
}

func (p approvalPlay) end(ctx context.Context, step int, id, what string) error {
	last, err := p.orders.follow(ctx, id, 0, func(event) error { return nil })
	if err != nil {
		return err
	}
	p.say("%d. %s. The wait returns:", step, what)
	p.say("     %s", oneLine(last.raw))
	p.say("That was one send, a decision of each, and one wait. Nothing of it is kept.")
	return nil
}
