package journal

import "fmt"

// Damage is one thing that Verify has found wrong.
type Damage struct {
	Kind   DamageKind
	Intent ID     // it is about; zero: none, or it is not known which
	Key    []byte // of the record or index entry; nil: it is about no single one
	What   string // one sentence
}

func (d Damage) String() string { return string(d.Kind) + ": " + d.What }

// DamageKind says what sort of damage it is, and so what can be done.
type DamageKind string

const (
	DamagedFile    DamageKind = "file"           // the store cannot be read, or not all of it
	SpentRecords   DamageKind = "spent_records"  // of a table, that nobody needs any more
	SpareFile      DamageKind = "spare_file"     // nothing rests on it, and a start refuses it
	MarkGone       DamageKind = "mark"           // nothing tells what was acknowledged last
	DamagedRecord  DamageKind = "record"         // a checksum is wrong, or it does not decode
	MissingRecord  DamageKind = "missing_record" // another record names it
	StrayRecord    DamageKind = "stray_record"   // it names an intent that is not here
	MissingEntry   DamageKind = "missing_entry"  // a record has no entry in an index it must be in
	StrayEntry     DamageKind = "stray_entry"    // no record names this entry of an index
	WrongCount     DamageKind = "fingerprint"    // an index is not the one that was written
	LostBatches    DamageKind = "lost_batches"   // what was acknowledged is gone
	BrokenLog      DamageKind = "events"         // the events of an intent have a gap
	BrokenReports  DamageKind = "reports"        // numbers of reports have a gap
	Contradictions DamageKind = "contradiction"  // two records that are written together disagree
)

const (
	doRestore = "keep this directory, and bring back a copy of it from before the damage"
	doResend  = "the intent cannot be trusted: look for it where it was sent from, and send it again if it is missing"
	doIndex   = "nothing is lost as long as no record is damaged or missing: bring back a copy from before, or ask its app to send the intent again"
)

var whatToDo = map[DamageKind]string{
	DamagedFile:    doRestore,
	SpentRecords:   "nothing: what is wrong there has been written again since, or was set aside before, and the next start makes the table anew",
	SpareFile:      "nothing is lost with it: move it away, and the next start makes another",
	MarkGone:       "a start needs no --accept-loss for it: without the file it goes on, warns, and makes another; whether what was sent last is there, ask those who sent it",
	DamagedRecord:  doResend,
	MissingRecord:  doResend,
	StrayRecord:    "it does no harm by itself; what else is listed says whether its intent was lost",
	MissingEntry:   doIndex,
	StrayEntry:     "it does no harm by itself: the record of an intent decides, and the sidecar acts on no entry that has none",
	WrongCount:     doIndex,
	LostBatches:    "bring back the newest copy, or start once with --accept-loss to go on without what is gone",
	BrokenLog:      doResend,
	BrokenReports:  "the other sidecar may never hear of an end: compare the intent there, and resolve it by hand",
	Contradictions: doResend,
}

// Do says what to do about it.
func (d Damage) Do() string { return whatToDo[d.Kind] }

// mostDamages bounds a report: who has more of them does not read them one by one.
const mostDamages = 1000

func (r *VerifyReport) add(d Damage) {
	if len(r.Damages) < mostDamages || r.all {
		r.Damages = append(r.Damages, d)
	}
}

// of adds what is wrong with one intent.
func (r *VerifyReport) of(id ID, kind DamageKind, format string, args ...any) {
	r.add(Damage{Kind: kind, Intent: id, What: fmt.Sprintf("intent %s ", id) + fmt.Sprintf(format, args...)})
}

// at adds what is wrong with one record or entry.
func (r *VerifyReport) at(key []byte, kind DamageKind, format string, args ...any) {
	d := Damage{Kind: kind, Key: key, What: fmt.Sprintf("%s: ", describe(key)) + fmt.Sprintf(format, args...)}
	d.Intent, _ = intentOf(key)
	r.add(d)
}

// whole adds what is wrong with no single intent or record.
func (r *VerifyReport) whole(kind DamageKind, format string, args ...any) {
	r.add(Damage{Kind: kind, What: fmt.Sprintf(format, args...)})
}
