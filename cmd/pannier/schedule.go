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

const scheduleHelp = `The arguments are a type and a payload, as "pannier send" takes them:

   pannier schedule add ledger.close.v1 --to billing --cron '30 2 * * *' --zone Europe/Berlin
   pannier schedule add '{"kind":"quick"}' --to billing --every 15m --overlap skip

The sidecar makes the intents; nothing else has to run. The schedule's id goes to stdout.`

func scheduleCommand() *cli.Command {
	return &cli.Command{
		Name: "schedule", Usage: "intents that are made again and again",
		Subcommands: []*cli.Command{
			addScheduleCommand(),
			{
				Name: "list", Usage: "list the schedules of this sidecar", Flags: appFlags(),
				Action: onApp(func(c *cli.Context, cl *client, _ []string) error {
					body, err := cl.call(c.Context, request{doing: "list schedules", method: http.MethodGet, path: schedulesPath})
					if err != nil {
						return err
					}
					return present(c, cl, body, printSchedules)
				}),
			},
			oneScheduleCommand("show", "show a schedule and its last runs", http.MethodGet, "", printSchedule),
			nextCommand(),
			oneScheduleCommand("pause", "let a schedule make nothing more", http.MethodPost, "/pause", printSchedule),
			oneScheduleCommand("resume", "let it go on, from its next time on", http.MethodPost, "/resume", printSchedule),
			oneScheduleCommand("remove", "end a schedule; what it has made stays", http.MethodDelete, "", printRemoved),
		},
	}
}

const schedulesPath = "/v1/schedules"

func schedulePath(id string) string { return schedulesPath + "/" + url.PathEscape(id) }

type scheduleBody struct {
	Name         string     `json:"name,omitempty"`
	Cron         string     `json:"cron,omitempty"`
	TimeZone     string     `json:"time_zone,omitempty"`
	EverySeconds int64      `json:"every_seconds,omitempty"`
	Misfire      string     `json:"misfire,omitempty"`
	Overlap      string     `json:"overlap,omitempty"`
	Intent       createBody `json:"intent"`
}

func addScheduleCommand() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "have an intent made at times of a cron expression, or every so often", ArgsUsage: "[TYPE] [JSON|FILE|-]", Description: scheduleHelp,
		Flags: append(appFlags(),
			&cli.StringFlag{Name: "to", Usage: "`AGENT` that is to get it (required)"},
			&cli.StringFlag{Name: "from", Usage: "`AGENT` that sends it (default: the sidecar's first agent)"},
			&cli.StringFlag{Name: "type", Usage: "intent `TYPE` (default: " + defaultType + ")"},
			&cli.StringFlag{Name: "data", Usage: "payload, a `JSON` object (default: {})"},
			&cli.StringFlag{Name: "cron", Usage: "`EXPRESSION` of five fields, or @hourly, @daily, @weekly, @monthly, @yearly"},
			&cli.StringFlag{Name: "zone", Usage: "time zone of --cron by its IANA `NAME` (default: UTC)"},
			&cli.DurationFlag{Name: "every", Usage: "instead of --cron: each time this `DURATION` has passed"},
			&cli.StringFlag{Name: "misfire", Usage: "what becomes of times missed while the sidecar was down: `WORD` once, skip or all (default: once)"},
			&cli.StringFlag{Name: "overlap", Usage: "`WORD` allow, or skip: make nothing while the intent before is open (default: allow)"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` for people"},
			&cli.StringFlag{Name: "idempotency-key", Usage: "`KEY` that makes a repeated add one schedule"},
		),
		Action: addSchedule,
	}
}

func addSchedule(c *cli.Context) error {
	cl, err := appClient(c)
	if err != nil {
		return err
	}
	every := c.Duration("every")
	switch {
	case c.IsSet("cron") == c.IsSet("every"):
		return usageError("schedule add needs --cron or --every, and not both").withHint("pannier schedule add --to billing --cron '30 2 * * *'")
	case c.IsSet("every") && (every < time.Second || every%time.Second != 0):
		return usageError("--every: %v; use whole seconds, at least one", every)
	case c.String("to") == "":
		return usageError("schedule add needs --to AGENT").withHint("pannier schedule add --to billing --cron '30 2 * * *'")
	}
	intentType, payload, err := whatToSend(c)
	if err != nil {
		return err
	}
	header := http.Header{}
	if key := c.String("idempotency-key"); key != "" {
		header.Set("Idempotency-Key", key)
	}
	body, err := cl.call(c.Context, request{doing: "add a schedule", method: http.MethodPost, path: schedulesPath, header: header, body: scheduleBody{
		Name: c.String("name"), Cron: c.String("cron"), TimeZone: c.String("zone"), EverySeconds: int64(every / time.Second),
		Misfire: c.String("misfire"), Overlap: c.String("overlap"),
		Intent: createBody{IntentType: intentType, ToAgent: agentAddress(c.String("to")), FromAgent: agentAddress(c.String("from")), Payload: payload},
	}})
	if err != nil {
		return err
	}
	var answer scheduleAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("answer of the sidecar: %w", err)
	}
	if cl.format != formatText {
		return printJSON(c.App.Writer, body)
	}
	talk(c, "scheduled at %s for %s, first due %s", cl.target, c.String("to"), printable(answer.Schedule.NextAt))
	_, err = fmt.Fprintln(c.App.Writer, answer.Schedule.ID)
	return err
}

func oneScheduleCommand[T any](name, usage, method, tail string, plain func(io.Writer, T) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "SCHEDULE", Flags: appFlags(),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{doing: name + " schedule " + args[0], lists: "schedule list", method: method, path: schedulePath(args[0]) + tail})
			if err != nil {
				return err
			}
			return present(c, cl, body, plain)
		}),
	}
}

func nextCommand() *cli.Command {
	return &cli.Command{
		Name: "next", Usage: "print the times to come of a schedule", ArgsUsage: "SCHEDULE",
		Flags: append(appFlags(), &cli.IntFlag{Name: "count", Value: 5, Usage: "`N` of them, at most 100"}),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{
				doing: "show schedule " + args[0], lists: "schedule list", method: http.MethodGet, path: schedulePath(args[0]),
				query: url.Values{"next": {fmt.Sprint(c.Int("count"))}},
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, printNext)
		}),
	}
}

type schedule struct {
	ID       string          `json:"schedule_id"`
	Name     string          `json:"name"`
	Cron     string          `json:"cron"`
	TimeZone string          `json:"time_zone"`
	Every    int64           `json:"every_seconds"`
	Misfire  string          `json:"misfire"`
	Overlap  string          `json:"overlap"`
	Paused   bool            `json:"paused"`
	Fault    string          `json:"fault"`
	NextAt   string          `json:"next_at"`
	From     string          `json:"from_agent"`
	To       string          `json:"to_agent"`
	Intent   json.RawMessage `json:"intent"`
	Runs     []struct {
		DueAt    string `json:"due_at"`
		Since    string `json:"since"`
		IntentID string `json:"intent_id"`
		Why      string `json:"why"`
	} `json:"runs"`
}

type scheduleAnswer struct {
	Schedule schedule `json:"schedule"`
	Next     []string `json:"next"`
}

// due is when it is due, in words.
func (s *schedule) due() string {
	if s.Cron == "" {
		return "every " + (time.Duration(s.Every) * time.Second).String()
	}
	return s.Cron + " " + s.TimeZone
}

// state is its next time, or why there is none.
func (s *schedule) state(w io.Writer) string {
	switch {
	case s.Fault != "":
		return "paused: " + s.Fault
	case s.Paused:
		return "paused"
	}
	return when(w, s.NextAt)
}

func printSchedules(w io.Writer, answer struct {
	Schedules []schedule `json:"schedules"`
}) error {
	rows := make([][]string, 0, len(answer.Schedules))
	for _, s := range answer.Schedules {
		rows = append(rows, []string{s.ID, s.Name, s.due(), s.To, s.state(w)})
	}
	return table(w, []string{"SCHEDULE", "NAME", "DUE", "TO", "NEXT"}, rows)
}

func printSchedule(w io.Writer, answer scheduleAnswer) error {
	s := &answer.Schedule
	if err := pairs(w, "schedule", s.ID, "name", s.Name, "due", s.due(), "next", s.state(w), "misfire", s.Misfire, "overlap", s.Overlap,
		"from", s.From, "to", s.To, "intent", oneLine(s.Intent)); err != nil || len(s.Runs) == 0 {
		return err
	}
	rows := make([][]string, 0, len(s.Runs))
	for _, run := range s.Runs {
		since := ""
		if run.Since != "" {
			since = "missed since " + run.Since
		}
		rows = append(rows, []string{run.DueAt, firstOf(run.IntentID, "none: "+run.Why), since})
	}
	return table(w, []string{"WAS DUE", "INTENT", ""}, rows)
}

func printNext(w io.Writer, answer scheduleAnswer) error {
	for _, at := range answer.Next {
		if _, err := fmt.Fprintln(w, at); err != nil {
			return err
		}
	}
	return nil
}

func printRemoved(w io.Writer, answer struct {
	ID string `json:"schedule_id"`
}) error {
	return pairs(w, "removed", answer.ID)
}
