// Package timetable says when a schedule is due: every so many seconds, or by a cron
// expression in a time zone. It is pure; the journal calls it to move a schedule on, and
// the app API to check one.
//
// An expression has the five fields of crontab(5), or is @hourly, @daily, @weekly,
// @monthly or @yearly. What clocks that are put forward or back do to it is what Vixie
// cron does:
//
//   - An expression whose hours begin with * means time that passes: */15 * is every
//     quarter of an hour, also in the hour that comes twice.
//   - Any other means what a clock on the wall shows. A time that a clock put forward
//     skips is due as long after the jump as it is into the gap (02:30 is 03:30 that
//     day). A time that comes twice is due the first time alone.
//
// Zones are those of the system this runs on, or of the file that ZONEINFO names: the
// program carries none, for they would be 450 KB of it.
package timetable

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Table is when something is due.
type Table struct {
	every time.Duration // 0: by expression

	cron    string
	zone    *time.Location
	passing bool // its hours mean time that passes
}

const maxExpression = 255

// words are the expressions that are no fields.
var words = []string{"@hourly", "@daily", "@weekly", "@monthly", "@yearly"}

// Every is due each time d has passed.
func Every(d time.Duration) Table { return Table{every: d} }

// Cron reads an expression and the name of the zone its times are in; an empty one is UTC.
func Cron(expression, zone string) (Table, error) {
	fields := strings.Fields(expression)
	word := len(fields) == 1 && slices.Contains(words, fields[0])
	switch {
	case len(expression) > maxExpression:
		return Table{}, fmt.Errorf("the expression has %d bytes; the limit is %d", len(expression), maxExpression)
	case !word && len(fields) != 5:
		return Table{}, fmt.Errorf("%q is not minute, hour, day of month, month, day of week, nor one of %s", expression, strings.Join(words, ", "))
	}
	expression = strings.Join(fields, " ")
	if !gronx.IsValid(expression) {
		return Table{}, fmt.Errorf("%q is not a cron expression: it has the fields minute 0-59, hour 0-23, day of month 1-31, month 1-12, day of week 0-6", expression)
	}
	t := Table{cron: expression, passing: fields[0] == "@hourly" || !word && strings.HasPrefix(fields[1], "*")}
	var err error
	if t.zone, err = Zone(zone); err != nil {
		return Table{}, err
	}
	if t.Next(time.Now()).IsZero() {
		return Table{}, fmt.Errorf("%q never comes", expression)
	}
	return t, nil
}

// Zone is the zone of an IANA name.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if name == "Local" { // where the sidecar happens to run, which no schedule can mean
		return nil, errors.New(`"Local" is no zone: write its name, such as Europe/Berlin`)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("the zone %.64q is not known here: write its IANA name, such as Europe/Berlin; where even that is unknown, this system has no zone data: install tzdata, set ZONEINFO, or use UTC", name)
	}
	return zone, nil
}

// Next is the first time it is due after t, in whole seconds; zero where there is none.
func (t Table) Next(after time.Time) time.Time {
	if t.every > 0 {
		return after.Add(t.every)
	}
	if t.passing {
		return t.nextPassing(after)
	}
	for wall := onWall(after, t.zone); ; {
		wall = t.tick(wall, false)
		if wall.IsZero() {
			return wall
		}
		if due := fromWall(wall, t.zone); due.After(after) {
			return due
		}
	}
}

// nextPassing looks within one offset of the zone, and goes on in the next where that
// one ends before.
func (t Table) nextPassing(after time.Time) time.Time {
	_, offset := after.In(t.zone).Zone()
	due := t.tick(after.UTC().Add(time.Duration(offset)*time.Second), false)
	for range 16 { // jumps between two times that are due; gronx gives up long before
		if due.IsZero() {
			return due
		}
		due = due.Add(-time.Duration(offset) * time.Second)
		_, then := due.In(t.zone).Zone()
		if then == offset {
			return due
		}
		from := jump(after, due, t.zone)
		_, offset = from.In(t.zone).Zone()
		after, due = from, t.tick(from.UTC().Add(time.Duration(offset)*time.Second), true)
	}
	return time.Time{}
}

// jump is the first second at which the zone has another offset than at from.
func jump(from, to time.Time, zone *time.Location) time.Time {
	_, was := from.In(zone).Zone()
	low, high := from.Unix(), to.Unix()
	for high-low > 1 {
		middle := (low + high) / 2
		if _, is := time.Unix(middle, 0).In(zone).Zone(); is == was {
			low = middle
		} else {
			high = middle
		}
	}
	return time.Unix(high, 0)
}

// tick is the next time of the expression where every day has 24 hours.
func (t Table) tick(wall time.Time, including bool) time.Time {
	next, err := gronx.NextTickAfter(t.cron, wall, including)
	if err != nil {
		return time.Time{}
	}
	return next
}

// onWall is what a clock in the zone shows, as a time of UTC.
func onWall(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// fromWall is the first time at which a clock in the zone shows that; where none does, it is
// counted on by the offset from before the jump.
func fromWall(wall time.Time, zone *time.Location) time.Time {
	const beyond = 26 * time.Hour // no offset is larger, and no zone jumps twice in that time
	_, before := wall.Add(-beyond).In(zone).Zone()
	_, after := wall.Add(beyond).In(zone).Zone()
	first := wall.Add(-time.Duration(before) * time.Second)
	second := wall.Add(-time.Duration(after) * time.Second)
	if !onWall(first, zone).Equal(wall) && onWall(second, zone).Equal(wall) {
		return second
	}
	return first
}

// Last is the last time it was due that is not after now, of those that follow on due,
// which is one of them.
func (t Table) Last(due, now time.Time) time.Time {
	if t.every > 0 {
		return due.Add(now.Sub(due) / t.every * t.every)
	}
	// By halves: an expression may come every minute, and we may have been away for a year.
	low, high := due, now
	for high.Sub(low) > time.Second {
		middle := low.Add(high.Sub(low) / 2)
		if next := t.Next(middle); !next.IsZero() && !next.After(now) {
			low = next
		} else {
			high = middle
		}
	}
	return low
}
