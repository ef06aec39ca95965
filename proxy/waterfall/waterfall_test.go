package waterfall

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// at is a time ms after a fixed one; zero for less than nothing.
func at(ms int) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

// happened is an event that home wrote at that time.
func happened(ms int, kind, status string) Event {
	return Event{At: at(ms), Type: "intent." + kind, Status: status}
}

// holder adds what a holder said of an attempt; -1 is unsaid.
func (e Event) holder(attempt, offer, offered, held, handed, said int) Event {
	d := &e.Details
	d.Attempt, d.OfferNo, d.Holder = attempt, offer, fmt.Sprint("J", offer)
	d.OfferedAt, d.HeldAt, d.HandedAt, d.HolderAt = at(offered), at(held), at(handed), at(said)
	d.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	return e
}

// until adds when it is due again, and why not before.
func (e Event) until(delay string, ms int) Event {
	e.Details.Delay, e.Details.NextTryAt = delay, at(ms)
	return e
}

// delayed adds what had delayed an offer.
func (e Event) delayed(code string, from, until int) Event {
	e.Details.Delayed = delayed{code, at(from), at(until)}
	return e
}

// approved adds that somebody who was asked then has decided.
func (e Event) approved(asked int) Event {
	e.Details.Gate.To = "manager"
	return e.delayed("awaiting_approval", asked, int(e.At.Sub(at(0)).Milliseconds()))
}

// of says which step of its workflow the event is about.
func (e Event) of(step string) Event {
	e.Details.Step.ID = step
	return e
}

func (e Event) because(reason string) Event {
	e.Details.Reason = reason
	return e
}

// Each row is an intent's events, and where it has spent its time: part, from, to.
func TestWaterfall(t *testing.T) {
	t.Parallel()
	begun := []Event{happened(1, "created", "CREATED"), happened(2, "submitted", "SUBMITTED")}
	for _, row := range []struct {
		rule   string
		events []Event
		want   string
		due    int // of the deliver_at; 0: none
	}{
		{"polled and acked", []Event{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-90, report 90-95", 0},
		{"pushed: all is told with the answer", []Event{
			happened(95, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 90),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-90, report 90-95", 0},
		{"home is the holder: there is no wire", []Event{
			happened(30, "delivered", "DELIVERED").holder(1, 1, -1, 20, 30, 30),
			happened(90, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-20, mailbox1 20-30, app1 30-90, report 90-90", 0},
		{"a failed attempt and another", []Event{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack"),
			happened(75, "delivered", "DELIVERED").holder(2, 1, 10, 20, 70, 70),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), mailbox2 50-70, app2 70-90, report 90-95", 0},
		{"a holder that is lost, and another", []Event{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(200, "transfer", "DELIVERED"),
			happened(240, "delivered", "DELIVERED").holder(2, 2, 210, 220, 230, 230),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-200 (holder lost), queue 200-210, wire 210-220, mailbox2 220-230, app2 230- (DELIVERED)", 0},
		{"the holder's clock is behind: it holds nothing before it was offered it", []Event{
			happened(1040, "delivered", "DELIVERED").holder(1, 1, 1010, 20, 30, 30),
			happened(1095, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 90),
		}, "journal 0-2, queue 2-1010, wire 1010-1010, mailbox1 1010-1020, app1 1020-1080, report 1080-1095", 0},
		{"the holder's clock is ahead: nothing is told before it happens", []Event{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 1020, 1030, 1030),
			happened(95, "completed", "COMPLETED").holder(0, 1, -1, -1, -1, 1080),
		}, "journal 0-2, queue 2-10, wire 10-30, mailbox1 30-40, app1 40-90, report 90-95", 0},
		{"two approve, and it is taken", []Event{
			happened(2, "human_task_assigned", "SUBMIEventED"),
			happened(300, "transfer", "SUBMIEventED").approved(2), happened(300, "human_task_assigned", "SUBMIEventED"),
			happened(500, "transfer", "SUBMIEventED").approved(300),
			happened(540, "delivered", "DELIVERED").holder(1, 1, 510, 520, 530, 530),
		}, "journal 0-2, awaiting_approval 2-300, awaiting_approval 300-500, queue 500-510, wire 510-520, mailbox1 520-530, app1 530- (DELIVERED)", 0},
		{"somebody refuses", []Event{happened(300, "canceled", "CANCELED").approved(2)}, "journal 0-2, awaiting_approval 2-300", 0},
		{"its steps, one after the other", []Event{
			happened(2, "waiting", "WAITING").of("check"), happened(300, "in_progress", "IN_PROGRESS").of("check").delayed("awaiting_step", 2, 300),
			happened(300, "waiting", "WAITING").of("sign"),
		}, "journal 0-2, awaiting_step 2-300 (check), awaiting_step 300- (sign)", 0},
		{"a step fails", []Event{
			happened(2, "waiting", "WAITING").of("check"), happened(300, "failed", "FAILED").of("check").delayed("awaiting_step", 2, 300),
		}, "journal 0-2, awaiting_step 2-300 (check FAILED)", 0},
		{"nobody takes it", nil, "journal 0-2, queue 2- (SUBMITTED)", 0},
		{"nobody took it", []Event{happened(500, "timed_out", "TIMED_OUT")}, "journal 0-2, queue 2-500", 0},
		{"between two attempts", []Event{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack"),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), mailbox 50- (DELIVERED)", 0},
		{"a back-off, and a wait for the app", []Event{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack").until("backing_off", 60),
			happened(75, "delivered", "DELIVERED").holder(2, 1, 10, 20, 70, 70),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), backing_off2 50-60, mailbox2 60-70, app2 70- (DELIVERED)", 0},
		{"a back-off that goes on", []Event{
			happened(40, "delivered", "DELIVERED").holder(1, 1, 10, 20, 30, 30),
			happened(52, "delivery_failed", "DELIVERED").holder(1, 1, 10, 20, 30, 50).because("nack").until("backing_off", 160),
		}, "journal 0-2, queue 2-10, wire 10-20, mailbox1 20-30, app1 30-50 (failed: nack), backing_off 50- (DELIVERED)", 0},
		{"a back-off by a clock that is behind", []Event{
			happened(1040, "delivered", "DELIVERED").holder(1, 1, 1010, 20, 30, 30),
			happened(1052, "delivery_failed", "DELIVERED").holder(1, 1, 1010, 20, 30, 50).because("nack").until("backing_off", 60),
			happened(1075, "delivered", "DELIVERED").holder(2, 1, 1010, 20, 60, 60),
		}, "journal 0-2, queue 2-1010, wire 1010-1010, mailbox1 1010-1020, app1 1020-1040 (failed: nack), backing_off2 1040-1050, app2 1050- (DELIVERED)", 0},
		{"an open breaker", []Event{
			happened(95, "delivered", "DELIVERED").holder(1, 1, 80, 85, 90, 90).delayed("breaker_open", 10, 70),
		}, "journal 0-2, queue 2-10, breaker_open 10-70, queue 70-80, wire 80-85, mailbox1 85-90, app1 90- (DELIVERED)", 0},
		{"due later, and behind a breaker by then", []Event{
			happened(95, "delivered", "DELIVERED").holder(1, 1, 80, 85, 90, 90).delayed("breaker_open", 50, 80),
		}, "journal 0-2, scheduled 2-50, breaker_open 50-80, wire 80-85, mailbox1 85-90, app1 90- (DELIVERED)", 50},
		{"due later still", nil, "journal 0-2, scheduled 2- (SUBMITTED)", 500},
		{"due, and nobody takes it", nil, "journal 0-2, scheduled 2-50, queue 50- (SUBMITTED)", 50},
		{"canceled before it was due", []Event{happened(40, "canceled", "CANCELED")}, "journal 0-2, scheduled 2-40", 500},
	} {
		var got []string
		all := append(begun[:2:2], row.events...)
		if row.due > 0 {
			all[1] = all[1].until("scheduled", row.due)
		}
		for _, b := range Draw(at(0), all, at(100)) {
			part := b.Name
			if b.Attempt > 0 {
				part += fmt.Sprint(b.Attempt)
			}
			part += fmt.Sprintf(" %d-", b.Start.Sub(at(0)).Milliseconds())
			if b.End != nil {
				part += fmt.Sprint(b.End.Sub(at(0)).Milliseconds())
			}
			if b.Note != "" && !ended(strings.Fields(b.Note)[0]) {
				part += " (" + b.Note + ")"
			}
			got = append(got, part)
		}
		if got := strings.Join(got, ", "); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.rule, got, row.want)
		}
	}
}
