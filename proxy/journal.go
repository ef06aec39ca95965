package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"pannier/journal"
	"pannier/proxy/notify"
)

// openJournal opens the journal. Who is told to stop meanwhile is not kept by a disk that hangs.
func (r *run) openJournal(ctx, force, alive context.Context) error {
	holdMemory(memlimit.FromCgroup) // before: to open one with a million intents takes as much as anything later
	o := journal.Options{
		Dir:         r.opts.Journal,
		AcceptLoss:  r.opts.AcceptLoss,
		AcceptClock: r.opts.AcceptClock,
		SinceBoot:   journal.SinceBoot,
		Ephemeral:   r.opts.Ephemeral,
		Backoff:     func(attempts int) time.Duration { return r.config.limits.Load().backoff(attempts) },
		WorkTimeout: r.opts.Limits.Inbound.WorkTimeout,
		WorkMax:     r.opts.Limits.Inbound.WorkMax,
		DeliverBy:   r.opts.Limits.DeliverBy,
		Deadline:    r.opts.Limits.Deadline,
		Elsewhere:   r.elsewhere,
		History:     r.opts.Limits.History,
		ScrubEvery:  r.opts.Limits.ScrubInterval,
		Space:       r.opts.Limits.Space,
		NoSchedules: r.emptying,
		Hooks:       r.hooks(),
	}
	if len(r.opts.Notify) > 0 && !r.emptying {
		o.Tell = r.rules().Tell
	}
	r.traced(&o)
	var j *journal.Journal
	err := r.opening(ctx, force, func() (err error) {
		r.warnOfStrangers()
		j, err = journal.Open(o)
		return err
	})
	if err != nil {
		return fmt.Errorf("open journal %s: %w", r.opts.Journal, err)
	}
	r.journal = j
	// Left behind it is an unclean stop: as long as nobody kills us, waiting is better.
	r.cleanups.add("journal", closeMargin, func(context.Context) error {
		err := j.Close()
		if err != nil && errors.Is(context.Cause(alive), err) {
			return nil // it has failed, which is what the sidecar ends for
		}
		return err
	})
	return nil
}

const (
	// openingSlow is after how long of opening the journal, and then how often, that is said. How
	// long it may take nobody can tell, so nobody is stopped for it.
	openingSlow = 30 * time.Second
	// openingLeft is what an open has left from when the sidecar is told to stop: one that comes
	// to its end is closed in order.
	openingLeft = 5 * time.Second
)

// opening opens a journal, of which there is nothing to be seen: it says so when that takes long.
// Told to stop it waits for a while more, and then leaves the open behind, to end with the process:
// until it has come to its end nothing has been acknowledged, and what it has done to files by
// then a kill may leave, too.
func (r *run) opening(ctx, force context.Context, open func() error) error {
	done := make(chan error, 1)
	go func() { done <- open() }()
	tick := time.NewTicker(openingSlow)
	defer tick.Stop()
	began, stopped := time.Now(), ctx.Done()
	var over <-chan time.Time
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			r.log.Warn("the journal is still being opened: its disk is slow, or hangs, or much of it has to be read", "journal", r.opts.Journal, "for", time.Since(began).Round(time.Second))
			continue
		case <-stopped:
			r.log.Warn("stopping: the journal is still being opened", "journal", r.opts.Journal, "for", time.Since(began).Round(time.Second), "within", openingLeft)
			stopped, over = nil, time.After(openingLeft)
			continue
		case <-over:
		case <-force.Done():
		}
		return r.leftOpening(time.Since(began))
	}
}

// leftOpening is how a start ends that was told to stop before its journal was open.
func (r *run) leftOpening(after time.Duration) error {
	next := "the next start opens it anew"
	if r.opts.AcceptLoss {
		next += ", with --accept-loss as this one"
	}
	return fmt.Errorf("told to stop while it was still being opened, after %s: its disk is slow, or hangs, or much of it has to be read; nothing is lost by ending here, nor by a kill: %s", after.Round(time.Second), next)
}

// elsewhere reports whether an agent is known to live at other sidecars. Until the parts
// are there, and with them the directory, nobody is.
func (r *run) elsewhere(agent string) bool {
	if r.parts.Load() == nil {
		return false
	}
	elsewhere, known := r.dir.Elsewhere(agent)
	return elsewhere && known
}

// rules say who is told of a task.
func (r *run) rules() *notify.Rules {
	return &notify.Rules{Targets: r.opts.Notify, Pages: cmp.Or(r.opts.PagesURL, r.opts.People.PeopleURL)}
}

// hooks call the parts from the committer; none of them blocks.
func (r *run) hooks() journal.Hooks {
	with := func(f func(*parts)) {
		if p := r.parts.Load(); p != nil {
			f(p)
		}
	}
	return journal.Hooks{
		Due:       func(a journal.Agent) { with(func(p *parts) { p.dispatcher.Due(a) }) },
		Continued: func(c journal.Continued) { with(func(p *parts) { p.dispatcher.Continued(c) }) },
		Changed:   func(c journal.Policy) { with(func(p *parts) { p.dispatcher.Changed(c) }) },
		Ended:     func(e journal.Ended) { with(func(p *parts) { p.dispatcher.Ended(e) }) },
		Mail:      func(a journal.Agent) { with(func(p *parts) { p.mailbox.Mail(a) }) },
		Moved:     func(v journal.Moved) { with(func(p *parts) { p.mailbox.Moved(v) }) },
		Spoken:    func(s journal.Spoken) { with(func(p *parts) { p.mailbox.Spoken(s) }) },
		Reports:   func(home journal.ID) { with(func(p *parts) { p.server.Reports(home) }) },
		Failed:    func(err error) { r.crew.fail(fmt.Errorf("journal: %w", err)) },
		Warning:   func(text string) { r.log.Warn("journal", "reason", text) },
		Counted:   r.metrics.Counted,
		Clock:     r.clock,
		Files:     r.openFiles,
		Faulty: func(id journal.ID, why error) {
			r.log.Error("intent set aside", "intent_id", id.String(), "err", why)
		},
		Lost:  func(journal.ID) { with(func(p *parts) { p.server.Relist() }) },
		Space: r.room,
		Corrupt: func(c journal.Corrupt) {
			r.log.Error(journal.CorruptRecord, "intent_id", c.ID.String(), "reason", c.Record+": "+c.Why)
		},
	}
}

// room is told that there is little room on the journal's volume, or that it is not known how much,
// or enough again.
func (r *run) room(v journal.Volume) {
	if text := roomText(v); text != "" {
		r.log.Warn("little room", "reason", text)
		return
	}
	r.log.Info("room again")
}

// roomText is what little room means; empty: there is enough.
func roomText(v journal.Volume) string {
	var parts []string
	if v.Unknown {
		parts = append(parts, "how much room is left on the journal's volume is not known, the system does not say (statfs): what was known last is gone by, and a volume that fills up meanwhile ends the sidecar in the midst of a write")
	}
	if v.Low {
		parts = append(parts, "the journal's volume is nearly full"+shortText(v)+": nothing new is taken until there is room; what is under way is finished")
	}
	if v.NoBallast {
		parts = append(parts, fmt.Sprintf("no room is kept in reserve, with %d MiB free: when the volume is full the sidecar exits, and does not start until somebody makes room", v.Free>>20))
	}
	return strings.Join(parts, "; ")
}

// shortText is what of a volume is short, and how much of that is needed.
func shortText(v journal.Volume) (text string) {
	if v.Free < v.EnoughFree {
		text += fmt.Sprintf(", %d MiB are free, and %d MiB are needed", v.Free>>20, (v.EnoughFree+1<<20-1)>>20)
	}
	if v.Inodes < v.EnoughInodes {
		text += fmt.Sprintf(", %d more files (inodes) can be made, and %d are needed", v.Inodes, v.EnoughInodes)
	}
	return text
}

// openFiles is told that few files are left to open, or enough again.
func (r *run) openFiles(f journal.FileRoom) {
	if text := filesText(f); text != "" {
		r.log.Error("few files left", "reason", text)
		return
	}
	r.log.Info("files again")
}

// filesText is what few files mean; empty: there are enough.
func filesText(f journal.FileRoom) string {
	if !f.Short {
		return ""
	}
	return fmt.Sprintf("%d files are left that this process may open, and those kept in reserve were given up: no connection is taken until there are enough; what is under way goes on", f.Left)
}

// clock is told that the wall clock has jumped, and that it is believed again.
func (r *run) clock(c journal.Clock) {
	if !c.Paused {
		r.log.Info("clock believed again")
		return
	}
	r.log.Warn("clock jumped", "reason", clockText(c))
}

// clockText is how the wall clock stands and what that means.
func clockText(c journal.Clock) string {
	where := fmt.Sprintf("%s ahead of the time that has passed", c.Ahead.Round(time.Second))
	switch {
	case c.Ahead < -time.Second:
		where = fmt.Sprintf("%s behind the time that has passed", -c.Ahead.Round(time.Second))
	case c.Ahead < time.Second:
		where = "set right again"
	}
	return fmt.Sprintf("the clock is %s: nothing expires, and nothing is forgotten, for another %s, unless it is set before", where, c.Left.Round(time.Second))
}
