package proxy

import (
	"fmt"
	"strings"
	"time"

	"pannier/journal"
	"pannier/proxy/admin"
)

// health is what the admin listener tells. It reads memory only.
func (r *run) health() admin.Health {
	phase := r.phase.Load()
	checks := append(checksOf(phase, r.journal.Stats(), r.journal.Err()), connectionsCheck(r.listeners.uses(), time.Now()))
	if copies := r.copiesCheck(); !copies.OK {
		checks = append(checks, copies)
	}
	if r.opts.Config != "" {
		checks = append(checks, r.config.check())
	}
	if discovery, asked := r.discovery(); asked {
		checks = append(checks, discovery)
	}
	if r.identified() {
		checks = append(checks, r.identityCheck())
	}
	return admin.Health{Started: phase > starting, Checks: checks}
}

// checksOf are those of each sidecar, whatever its settings.
func checksOf(at phase, stats journal.Stats, failed error) []admin.Check {
	listeners := admin.Check{Name: "listeners", OK: at > starting}
	running := admin.Check{Name: "running", OK: at <= serving}
	if !running.OK {
		running.Detail = "the sidecar is stopping"
	}
	durable := admin.Check{Name: "durable", OK: stats.Durable, Advice: true}
	if !durable.OK {
		durable.Detail = "the journal's volume does not outlive this host: intents are lost with it"
	}
	if stats.VolumeUnknown {
		durable.Detail = "at the start the system did not say (statfs) on what volume the journal is: the sidecar goes by one that does not outlive this host"
	}
	// Not ready it would be given nothing to finish either, nor the reports that free it.
	room := admin.Check{Name: "space", Detail: roomText(stats.Volume), Advice: true}
	room.OK = room.Detail == ""
	files := admin.Check{Name: "files", Detail: filesText(stats.Files), Advice: true} // as for room
	files.OK = files.Detail == ""
	clock := admin.Check{Name: "clock", OK: !stats.Clock.Paused, Advice: true}
	if !clock.OK {
		clock.Detail = clockText(stats.Clock)
	}
	writes := journalCheck(stats, failed)
	return []admin.Check{writes, listeners, running, intakeCheck(writes.OK, stats.Volume.Low), durable, room, files, clock, recordsCheck(stats)}
}

// journalCheck is whether the journal writes: one that has failed does not, nor does one whose
// disk has not answered for a while.
func journalCheck(stats journal.Stats, failed error) admin.Check {
	c := admin.Check{Name: "journal"}
	switch {
	case failed != nil:
		c.Detail = failed.Error()
	case stats.Stalled > 0:
		c.Detail = "what is written has been on its way to the disk for " + stats.Stalled.String() + ": the disk is too slow, or hangs"
	default:
		c.OK = true
	}
	return c
}

// intakeCheck is whether anything new is taken. A probe need not hear of it: what keeps a sidecar from
// being ready has a check of its own, and one without room is to be given what it can finish.
func intakeCheck(writes, low bool) admin.Check {
	c := admin.Check{Name: "intake", Advice: true}
	switch {
	case !writes:
		c.Detail = "the journal takes no writes, and nobody who sends is answered that it has what was sent"
	case low:
		c.Detail = "the journal's volume is nearly full: what is sent is answered with 503 journal_full"
	default:
		c.OK = true
	}
	return c
}

// recordsCheck is of what the journal has lost, and gone on without: others flow, and
// somebody should know.
func recordsCheck(stats journal.Stats) admin.Check {
	var lost []string
	if stats.Aside > 0 {
		lost = append(lost, fmt.Sprintf("%d records could not be read and were set aside; the log names their intents (%s); where more of a file is damaged than these, as `pannier verify` says of a stopped sidecar, the next start needs --accept-loss", stats.Aside, journal.CorruptRecord))
	}
	if stats.Rebuilt > 0 {
		lost = append(lost, fmt.Sprintf("%d entries of indexes were not what was written, and were built anew from the records", stats.Rebuilt))
	}
	if stats.Loss != "" {
		lost = append(lost, "started with --accept-loss: "+stats.Loss)
	}
	return admin.Check{Name: "records", OK: len(lost) == 0, Advice: true, Detail: strings.Join(lost, "; ")}
}
