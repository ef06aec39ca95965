package checkup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pannier/journal/state"
)

// Level is how bad a finding is.
type Level string

const (
	Fine    Level = "ok"
	Warning Level = "warning" // it delivers, and somebody should know
	Wrong   Level = "error"   // something is not delivered because of it
)

// Finding is one line of the check.
type Finding struct {
	Group  string `json:"group"`
	About  string `json:"about"`
	Level  Level  `json:"level"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`

	settled bool        // somebody has chosen it so: it is no news
	cause   state.Cause // of a peer, where that says more than that it cannot be reached
}

// Broken reports whether anything keeps the sidecar from delivering.
func Broken(all []Finding) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return f.Level == Wrong })
}

// Attention leaves what is not fine, the worst first.
func Attention(all []Finding) (out []Finding) {
	for _, want := range []Level{Wrong, Warning} {
		for _, f := range all {
			if f.Level == want && !f.settled {
				out = append(out, f)
			}
		}
	}
	return out
}

// Findings says all that is right and wrong with a sidecar, group by group. mine is the
// version of the program that asks, which may know less than the sidecar says.
func (s *Answers) Findings(now time.Time, mine string) []Finding {
	return slices.Concat(s.ofProcess(mine), s.ofJournal(), s.ofReceivers(now), s.ofDestinations(now), examinePeers(s.Peers, now), examineXDS(s.XDS, now), s.ofSecrets(now), s.ofDead(now))
}

// condition is what a check of /v1/admin/status is about.
type condition struct {
	group, about, hint string

	wrong bool // where it is not met something is wrong, though a probe need not hear of it
}

// conditions are the checks of /v1/admin/status: what it means that one is met, and what to do
// where it is not. One that is not listed is shown by its name.
var conditions = map[string]condition{
	"journal":     {group: "journal", about: "takes writes", hint: "the sidecar is about to end by itself: read its log, and look after the disk before it is started again"},
	"space":       {group: "journal", about: "has room", hint: "make room on the journal's volume: while it is nearly full, what is sent is answered with 503; where it is not known how full it is, look at the disk"},
	"durable":     {group: "journal", about: "is on a volume that outlives the host", hint: "give --journal a persistent volume, or accept that a lost host loses what it has accepted"},
	"files":       {group: "journal", about: "has files left to open", hint: "raise the limit of open files (ulimit -n) of the sidecar, and look at process_open_fds: what takes them is no connection to it"},
	"clock":       {group: "journal", about: "has a clock that holds", hint: "set the clock of the host by NTP; where it is right, start the sidecar once with --accept-clock, or wait"},
	"records":     {group: "journal", about: "has all its records", hint: "look after the disk and the memory of this host; \"pannier verify\" says more once the sidecar is stopped, and dead letters of it are to be sent again from where they came"},
	"copies":      {group: "journal", about: "older copies", hint: "start no other sidecar with --accept-loss, and forget no peer: neither helps"},
	"listeners":   {group: "sidecar", about: "listens", hint: "it is starting; if it stays so, read its log"},
	"running":     {group: "sidecar", about: "runs", hint: "it was asked to stop; start it again"},
	"intake":      {group: "sidecar", about: "takes intents", hint: "see what is said of its journal; senders with a key may repeat until it takes them", wrong: true},
	"connections": {group: "sidecar", about: "lets in who connects", hint: "raise the limit of open files (ulimit -n) of the sidecar, or close connections to that listener: apps that stream and poll need one each, and who is turned away sees it closed"},
	"config":      {group: "sidecar", about: "config file", hint: "\"pannier config validate --config FILE\" says what is wrong with it"},
	"identity":    {group: "sidecar", about: "certificate or key", hint: "renew the file that --tls-cert, --tls-key, --tls-ca or --keyring names: it is picked up at once"},
}

func (s *Answers) ofProcess(mine string) (all []Finding) {
	for _, c := range s.Status.Checks {
		if c.Name == "discovery" {
			continue // examineXDS has more to say
		}
		known, ok := conditions[c.Name]
		if !ok {
			known.group, known.about, known.hint = "sidecar", c.Name, "read the log of the sidecar"
		}
		f := Finding{Group: known.group, About: known.about, Level: Fine, Detail: c.Detail, settled: c.Name == "durable"}
		if !c.OK {
			f.Level, f.Hint = Wrong, known.hint
			if c.Advice && !known.wrong {
				f.Level = Warning
			}
		}
		all = append(all, f)
	}
	if s.Status.Version != "" && s.Status.Version != mine {
		all = append(all, Finding{
			Group: "sidecar", About: "version", Level: Warning, Detail: s.Status.Version + ", and this command is " + mine,
			Hint: "use the command of the sidecar's version: one may not know what the other says", settled: true,
		})
	}
	for _, member := range s.Late {
		all = append(all, Finding{
			Group: "journal", About: strings.ReplaceAll(member, "_", " "), Level: Warning,
			Detail: fmt.Sprintf("not told within %s: it is read from the disk, which may hang, or the sidecar is short of memory and reads everything anew", readsFor),
			Hint:   "look at the disk of --journal, and at what the sidecar uses of its limit of memory; what is said of the journal above tells whether it is written",
		})
	}
	for _, member := range s.Lacks {
		all = append(all, Finding{
			Group: "sidecar", About: "says nothing of its " + strings.ReplaceAll(member, "_", " "), Level: Warning,
			Detail: "it is of a version that has no such answer, or another one",
			Hint:   "use the command of the sidecar's version to see all of it", settled: true,
		})
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return strings.Compare(b.Group, a.Group) }) // sidecar before journal
	return all
}

const (
	// slowSync is when a disk holds up each who sends: the median of the last batches.
	slowSync = 100.0 // ms
	// nearlyFull is how much of a limit may be taken before somebody should know, in percent.
	nearlyFull = 80
	// historyLimit is a budget: at it what has ended longest ago is let go, and nobody is
	// refused. A sidecar with a history is at it all the time.
	historyLimit = "history_bytes"
)

func (s *Answers) ofJournal() (all []Finding) {
	if syncs := s.Status.Journal.Syncs; syncs.Of > 0 {
		f := Finding{Group: "journal", About: "is on a quick disk", Level: Fine, Detail: s.Status.SyncText()}
		if syncs.P50 > slowSync {
			f.Level, f.Hint = Warning, "whoever sends waits as long: look for what else writes there, or move the journal"
		}
		all = append(all, f)
	}
	for _, l := range s.Status.Limits {
		if l.Name == historyLimit {
			continue
		}
		if l.Most > 0 && l.Used*100 >= l.Most*nearlyFull {
			all = append(all, Finding{
				Group: "journal", About: "limit " + l.Name, Level: Warning, Detail: fmt.Sprintf("%d of %d are taken", l.Used, l.Most),
				Hint: "at the limit, sends are answered with 429 or 503 until there is room",
			})
		}
	}
	return all
}

// doorCauses say of a door that is shut what why says of an intent behind it.
var doorCauses = map[string]state.Cause{
	"no_reader": state.CauseNoReader, "failing": state.CauseDoorShut, "rejecting": state.CauseDoorShut,
	"unreachable": state.CauseAppUnreachable, "throttled": state.CauseAppThrottled, "gone": state.CauseAppGone,
}

// ofReceivers finds apps that do not take what is there for them.
func (s *Answers) ofReceivers(now time.Time) (all []Finding) {
	for _, a := range s.Agents.Agents {
		f := Finding{Group: "receivers", About: a.Agent, Level: Fine, Detail: plural(a.Readers, "reader")}
		cause, shut := doorCauses[a.Door.Reason]
		switch {
		case !shut:
		case a.Unsettled > 0:
			f.Level, f.Hint = Wrong, cause.Remedy()
			f.Detail = fmt.Sprintf("%s here%s. %s", plural(a.Unsettled, "intent"), oldest(a.Oldest, now), cause.Sentence())
		default:
			f.Level, f.Detail, f.Hint = Warning, cause.Sentence(), cause.Remedy()
			f.settled = cause == state.CauseNoReader // nobody waits for it
		}
		all = append(all, f)
	}
	return all
}

// patience is how long something may wait before that is a finding: a stream is dialed, a list compared.
const patience = 10 * time.Second

// ofDestinations finds what is due and not offered.
func (s *Answers) ofDestinations(now time.Time) (all []Finding) {
	for _, d := range s.Destinations.Destinations {
		if d.Waiting == 0 {
			continue
		}
		f := Finding{Group: "destinations", About: d.Agent, Level: Fine, Detail: fmt.Sprintf("%s due, being offered", plural(d.Waiting, "intent"))}
		if d.Completions {
			f.About += " (completions)"
		}
		if len(d.Why) > 0 && d.Oldest != nil && now.Sub(*d.Oldest) > patience {
			f.Level = Wrong
			f.Detail = fmt.Sprintf("%s due%s. %s", plural(d.Waiting, "intent"), oldest(d.Oldest, now), d.Why[0].Text)
			if d.Why[0].Peer != "" {
				f.Detail += " (" + d.Why[0].Peer + ")"
			}
			if cause, ok := state.ParseCause(d.Why[0].Code); ok {
				f.Hint = cause.Remedy()
			}
		}
		all = append(all, f)
	}
	return all
}

func oldest(at *time.Time, now time.Time) string {
	if at == nil {
		return ""
	}
	return ", the oldest for " + Age(max(0, now.Sub(*at)))
}

// oldSecret is how long a secret may sign before somebody should think of another.
const oldSecret = 365 * 24 * time.Hour

// ofSecrets says how old they are that sign now.
func (s *Answers) ofSecrets(now time.Time) (all []Finding) {
	for _, one := range s.Secrets.Secrets {
		made, err := time.Parse(time.RFC3339, one.Made)
		if one.State != "current" || err != nil {
			continue
		}
		f := Finding{Group: "secrets", About: one.Agent, Level: Fine, Detail: "made " + Age(max(0, now.Sub(made))) + " ago"}
		if now.Sub(made) > oldSecret {
			f.Level, f.Hint, f.settled = Warning, "\"pannier secret rotate "+one.Agent+"\" makes another; both sign until its app has learned it", true
		}
		all = append(all, f)
	}
	return all
}

// ofDead finds what ended undelivered and what would.
func (s *Answers) ofDead(now time.Time) (all []Finding) {
	open, since := s.DeadKinds.Open()
	for _, one := range []struct {
		member      string
		count       int
		more        bool
		oldest      *time.Time
		about, hint string
	}{
		{
			"dead_letters", max(len(s.Dead.List), open), len(s.Dead.List) >= deadCounted || s.DeadKinds.More, since,
			aboutDead, "\"pannier dlq list --open\" shows them: redrive what is mended, purge what is not wanted",
		},
		{
			"waiting_for_operator", max(len(s.Held.List), s.DeadKinds.Waiting.Count), len(s.Held.List) >= deadCounted || s.DeadKinds.Waiting.More, s.DeadKinds.Waiting.Oldest,
			aboutHeld, "\"pannier dlq list --waiting\" shows them: a resume lets each go on, a resolve ends it",
		},
	} {
		if slices.Contains(s.Lacks, one.member) || slices.Contains(s.Late, one.member) {
			continue
		}
		f := Finding{Group: "dead letters", About: one.about, Level: Fine, Detail: "none"}
		if one.count > 0 {
			f.Level, f.Hint, f.Detail = Warning, one.hint, plural(one.count, "intent")
			if one.more {
				f.Detail = fmt.Sprintf("%d intents or more", one.count)
			}
			f.Detail += oldest(one.oldest, now)
		}
		all = append(all, f)
	}
	return all
}

// examineXDS finds servers out of reach, what is stale because of it, what was
// refused, and agents nobody knows.
func examineXDS(a XDS, now time.Time) (all []Finding) {
	if !a.Configured {
		return nil
	}
	for _, s := range a.Servers {
		f := Finding{Group: "discovery", About: "control plane " + s.Address, Level: Fine, Detail: s.State}
		if s.LastError != "" {
			f.Level, f.Detail, f.Hint = Warning, s.State+": "+s.LastError, "see whether it runs and can be reached from here; what it has said holds meanwhile"
		} else if s.Refused != "" {
			f.Level, f.Detail = Wrong, s.State+", and does not announce this sidecar as it asks to be: "+s.Refused
			f.Hint = "others may not find it: give it an identity that may speak for its agents, or map the one it has under identities at the control plane"
		}
		all = append(all, f)
	}
	if a.Stale {
		f := Finding{Group: "discovery", About: "what is known", Level: Warning, Detail: "stale: no control plane answers, and none ever has", Hint: "is --xds right, and does a control plane run there?"}
		if a.Confirmed != nil {
			f.Detail = fmt.Sprintf("stale: what was known %s ago is in force", now.Sub(*a.Confirmed).Round(time.Second))
		}
		all = append(all, f)
	}
	for _, r := range a.Resources {
		if r.State != "NACKED" && r.State != "RECEIVED_ERROR" {
			continue
		}
		f := Finding{Group: "discovery", About: "resource " + r.Type + " " + r.Name, Level: Wrong, Detail: r.Error, Hint: "mend it at the control plane; until then the last good one is in force"}
		if r.State == "NACKED" {
			f.Detail = "refused: " + r.Error
		}
		if r.Version == "" {
			f.Hint = "mend it at the control plane; until then what goes there waits"
		}
		all = append(all, f)
	}
	for _, g := range a.Agents {
		switch {
		case !g.Known:
			all = append(all, Finding{Group: "discovery", About: "agent " + g.Agent, Level: Warning, Detail: "asked for, and no control plane has said where it is", Hint: "see whether a sidecar serves it, and has registered: pannier xds status there"})
		case g.Endpoints == 0 && !g.Here:
			all = append(all, Finding{Group: "discovery", About: "agent " + g.Agent, Level: Warning, Detail: "nobody serves it: what is sent to it waits", Hint: "start a sidecar with --agent for it"})
		}
		if g.Paused {
			all = append(all, Finding{Group: "discovery", About: "agent " + g.Agent, Level: Warning, Detail: "paused by a switch of the control plane: nothing is sent to it", Hint: "take the switch back there"})
		}
	}
	return all
}

// skewed is how far two clocks may be apart before somebody should know.
const skewed = 5 * time.Second

// examinePeers finds sidecars that something waits for and that do not answer.
func examinePeers(a Peers, now time.Time) (all []Finding) {
	for _, p := range a.Peers {
		f := Finding{Group: "peers", About: p.Address, Level: Fine, Detail: p.State}
		f.cause, _ = state.ParseCause(p.State)
		switch {
		case f.cause == state.CausePutBack || f.cause == state.CausePeerPutBack:
			f.Level, f.Hint = Wrong, f.cause.Remedy()
			f.Detail = p.State + ": " + f.cause.Sentence()
		case p.State == "down" || p.State == "breaker_open":
			f.Level, f.Detail = Wrong, p.State
			f.Hint = "see whether that sidecar runs and can be reached from here; one that is gone for good is given up with \"pannier peers forget\""
			if p.LastError != "" {
				f.Detail += ": " + p.LastError
			}
			if p.Held > 0 {
				f.Detail += ", holding " + plural(int(p.Held), "intent")
			}
			if p.GivenUpAt != nil {
				f.Detail += ", offered elsewhere from " + p.GivenUpAt.UTC().Format(time.RFC3339)
			}
		case p.OutSince != nil && now.Sub(*p.OutSince) > patience:
			f.Level, f.Detail = Warning, fmt.Sprintf("%s for %s", p.State, Age(now.Sub(*p.OutSince)))
			f.Hint = "see whether that sidecar runs, is not stopped in the midst of it, and can be reached from here"
			if p.LastError != "" {
				f.Detail += ": " + p.LastError
			}
		}
		if ahead := time.Duration(p.Ahead) * time.Millisecond; f.Level == Fine && ahead.Abs() > skewed {
			f.Level, f.Detail, f.settled = Warning, fmt.Sprintf("%s, and its clock is %s ahead of this sidecar's", p.State, Age(ahead)), true
			if ahead < 0 {
				f.Detail = fmt.Sprintf("%s, and its clock is %s behind this sidecar's", p.State, Age(-ahead))
			}
			f.Hint = "set both clocks by NTP: no limit of time is compared between them, but certificates and the signatures of webhooks are checked against each"
		}
		if p.Forced {
			f.Level, f.Detail, f.settled = Warning, "an operator has opened its breaker: nothing is sent to it", true
			f.Hint = "\"pannier breaker close " + p.Address + "\" when it may be sent to again"
		}
		all = append(all, f)
	}
	return all
}
