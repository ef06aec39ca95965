package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"

	"pannier/proxy/api"
)

func inboxCommand() *cli.Command {
	return &cli.Command{
		Name: "inbox", Usage: "what people are asked, and their decisions",
		Subcommands: []*cli.Command{
			inboxListCommand(), inboxShowCommand(),
			decideCommand("approve", "decide a task in favour: its one outcome that is no refusal", api.Accepts),
			decideCommand("reject", "refuse a task: the intent ends CANCELED", api.Refuses),
			completeCommand(),
			passOnCommand("assign", "give what is asked to somebody: it is in the inbox of AGENT, too, who may decide it"),
			passOnCommand("delegate", "the same as assign"),
			commentCommand(),
		},
	}
}

// task is what a person is asked.
type task struct {
	ID         string `json:"intent_id"`
	Type       string `json:"intent_type"`
	From       string `json:"from_agent"`
	AssignedAt string `json:"assigned_at"`
	DueAt      string `json:"due_at"`
	humanTask  `json:"human_task"`
}

type humanTask struct {
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Kind        string          `json:"task_type"`
	Outcomes    []string        `json:"allowed_outcomes"`
	Assignees   []string        `json:"assignees"`
	Comment     bool            `json:"required_comment"`
	Evidence    bool            `json:"evidence_required"`
	Form        json.RawMessage `json:"form_schema"`
}

func inboxListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list what is to be decided at this sidecar, newest first",
		Flags: append(appFlags(),
			&cli.StringFlag{Name: "for", Usage: "only what was sent to this `AGENT`, or names it"},
			&cli.IntFlag{Name: "limit", Value: 50, Usage: "at most `N`"},
		),
		Action: onApp(func(c *cli.Context, cl *client, _ []string) error {
			query := url.Values{"limit": {fmt.Sprint(c.Int("limit"))}}
			if agent := c.String("for"); agent != "" {
				query.Set("owner_agent", agentAddress(agent))
			}
			body, err := cl.call(c.Context, request{doing: "list tasks", method: http.MethodGet, path: "/v1/me/tasks", query: query})
			if err != nil {
				return err
			}
			return present(c, cl, body, printTasks)
		}),
	}
}

func printTasks(w io.Writer, answer struct {
	Tasks []task `json:"tasks"`
}) error {
	rows := make([][]string, 0, len(answer.Tasks))
	for _, t := range answer.Tasks {
		due := "never"
		if t.DueAt != "" {
			due = when(w, t.DueAt)
		}
		rows = append(rows, []string{t.ID, t.Title, strings.Join(t.Outcomes, " | "), t.From, when(w, t.AssignedAt), due})
	}
	return table(w, []string{"INTENT", "TITLE", "OUTCOMES", "FROM", "ASSIGNED", "DUE"}, rows)
}

func inboxShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show what a task asks for, and what it is about", ArgsUsage: "ID", Flags: appFlags(),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{doing: "show " + args[0], lists: "inbox list", method: http.MethodGet, path: intentPath(args[0])})
			if err != nil {
				return err
			}
			return present(c, cl, body, printTask)
		}),
	}
}

// asked is an intent with the task it has, if it has one.
type asked struct {
	intent
	Task *humanTask `json:"human_task"`
}

func printTask(w io.Writer, answer struct {
	Intent asked `json:"intent"`
}) error {
	i, t := answer.Intent, answer.Intent.Task
	if t == nil {
		return &failure{exit: exitUsage, what: i.ID + " asks nobody", why: "it is an intent for an app", hint: "see it with \"pannier get " + i.ID + "\"", code: "no_task"}
	}
	var wants []string
	if t.Comment {
		wants = append(wants, "a comment")
	}
	if t.Evidence {
		wants = append(wants, "evidence")
	}
	if t.Form != nil {
		wants = append(wants, "a form")
	}
	return pairs(w, "task", t.Title, "about", t.Description, "kind", t.Kind, "outcomes", strings.Join(t.Outcomes, ", "), "wants", strings.Join(wants, ", "),
		"for", firstOf(strings.Join(t.Assignees, ", "), i.To), "form", oneLine(t.Form), "intent", i.ID, "status", i.Status, "type", i.Type, "from", i.From,
		"created", i.CreatedAt, "deadline", i.DeadlineAt, "payload", oneLine(i.Payload), "result", oneLine(i.Result))
}

func decisionFlags() []cli.Flag {
	return append(appFlags(),
		&cli.StringFlag{Name: "comment", Usage: "`TEXT` for the sender"},
		&cli.StringFlag{Name: "as", Usage: "decide in the name of `AGENT`, which its log shows"},
	)
}

// decideCommand decides with the one outcome of the task that is meant.
func decideCommand(name, usage string, meant func(outcome string) bool) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "ID", Flags: decisionFlags(),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			outcome, err := outcomeMeant(c, cl, args[0], meant)
			if err != nil {
				return err
			}
			return decide(c, cl, args[0], outcome, nil)
		}),
	}
}

func outcomeMeant(c *cli.Context, cl *client, id string, meant func(string) bool) (string, error) {
	body, err := cl.call(c.Context, request{doing: c.Command.Name + " " + id, lists: "inbox list", method: http.MethodGet, path: intentPath(id)})
	if err != nil {
		return "", err
	}
	var answer struct{ Intent asked }
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("answer of the sidecar: %w", err)
	}
	if answer.Intent.Task == nil {
		return "", usageError("%s asks nobody: it is an intent for an app", id).withHint("end it with \"pannier cancel %s\"", id)
	}
	var fit []string
	for _, o := range answer.Intent.Task.Outcomes {
		if meant(o) {
			fit = append(fit, o)
		}
	}
	if len(fit) != 1 {
		return "", usageError("the task has the outcomes %s: say which", strings.Join(answer.Intent.Task.Outcomes, ", ")).withHint("pannier inbox complete %s --outcome OUTCOME", id)
	}
	return fit[0], nil
}

func completeCommand() *cli.Command {
	return &cli.Command{
		Name: "complete", Usage: "decide a task with any of its outcomes, a form, or evidence", ArgsUsage: "ID",
		Flags: append(decisionFlags(),
			&cli.StringFlag{Name: "outcome", Usage: "one of the task's `OUTCOMES`"},
			&cli.StringFlag{Name: "data", Usage: "fields of the form, or evidence: a JSON `OBJECT`, -, or a file"},
		),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			if c.String("outcome") == "" {
				return usageError("complete needs an --outcome").withHint("\"pannier inbox show %s\" lists them", args[0])
			}
			var data json.RawMessage
			if c.IsSet("data") {
				var err error
				if data, err = readPayload(c, nil); err != nil {
					return err
				}
			}
			return decide(c, cl, args[0], c.String("outcome"), data)
		}),
	}
}

func decide(c *cli.Context, cl *client, id, outcome string, data json.RawMessage) error {
	query := url.Values{}
	if as := c.String("as"); as != "" {
		query.Set("owner_agent", as)
	}
	type result struct {
		Outcome string          `json:"outcome"`
		Comment string          `json:"comment,omitempty"`
		Data    json.RawMessage `json:"data,omitempty"`
	}
	body, err := cl.call(c.Context, request{
		doing: c.Command.Name + " " + id, lists: "inbox list", method: http.MethodPost, path: intentPath(id) + "/resume", query: query,
		body: struct {
			Result result `json:"task_result"`
		}{result{outcome, c.String("comment"), data}},
	})
	if err != nil {
		return err
	}
	return present(c, cl, body, printIntent)
}
