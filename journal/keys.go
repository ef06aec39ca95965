package journal

import (
	"encoding/binary"
	"time"
)

// The first byte of a key is its class. All integers are big-endian, so that
// keys sort by time. An index key has no value: the record of the intent
// decides, the index only says where to look.
const (
	classMeta     = 'm' // m/meta (Meta), m/birth (Birth)
	classHead     = 'i' // i<id16>                        Head
	classEnvelope = 'v' // v<id16><chunk u16>             Envelope, in chunks of 256 KiB
	classEvents   = 't' // t<id16>                        Events
	classOutcome  = 'a' // a<id16><chunk u16>             Outcome, in chunks
	classPolicy   = 'c' // c<id16>                        Policy
	classHandover = 'h' // h<id16>                        Handover
	classDue      = 'o' // o<agent u32><due ms u64><id16> home: to be offered
	classHeld     = 'l' // l<holder16><id16>              home: on record at another journal
	classParked   = 'w' // w<id16>                        home: waits for an operator, a person, an approval, a step or a time
	classExpiry   = 'x' // x<ms u64><id16>                home: next limit of time
	classMail     = 'n' // n<agent u32><due ms u64><id16> holder: every open hand-over
	classReport   = 'q' // q<home16><no u64>              holder: unacked Report
	classHolder   = 'P' // P<journal16>                   Holder
	classHome     = 'p' // p<journal16>                   HomePeer
	classDedupe   = 'd' // d<hash32>                      Dedupe
	classForget   = 'g' // g<ms u64><hash32>              when a key may be forgotten
	classRetain   = 'r' // r<ms u64><id16>                ended intents with their bodies, by the time they ended
	classHistory  = 'H' // H<ms u64><id16>                the same without bodies, and what is left of purged ones
	className     = 'u' // u<address>                     Name
	classDead     = 'z' // z<ms u64><id16>                dead letters, by the time they ended, ours and those we held
	classPurged   = 'y' // y<id16>                        Purged
	classSchema   = 's' // s<semantic type>               Schema
	classWebhook  = 'b' // b<id16>                        Subscription
	classNotice   = 'e' // e<id16>                        Notice
	classAccount  = 'f' // f<id16>                        Account
	classAgents   = 'k' // k                              AgentEvents
	classThread   = 'T' // T<id16>                        Thread
	classInbox    = 'V' // V<owner u32><change u64><id16> threads by inbox, in the order of their changes; owner 0: all
	classTask     = 'J' // J<id16>                        open tasks of people that are not parked: offered, or held here
	classApproval = 'A' // A<id16>                        Approval
	classPlan     = 'j' // j<id16>                        Plan
	classSchedule = 'S' // S<id16>                        Schedule
	classAside    = 'Q' // Q<id16>                        Aside: an intent of which a record could not be read
)

// No two classes are the same letter: this would not compile.
var classes = map[byte]struct{}{
	classMeta: {}, classHead: {}, classEnvelope: {}, classEvents: {}, classOutcome: {}, classPolicy: {}, classHandover: {},
	classDue: {}, classHeld: {}, classParked: {}, classExpiry: {}, classMail: {}, classReport: {}, classHolder: {}, classHome: {},
	classDedupe: {}, classForget: {}, classRetain: {}, classHistory: {}, className: {}, classDead: {}, classPurged: {}, classSchema: {},
	classWebhook: {}, classNotice: {}, classAccount: {}, classAgents: {},
	classThread: {}, classInbox: {}, classApproval: {}, classTask: {}, classPlan: {},
	classSchedule: {}, classAside: {},
}

// liveClasses are the index classes whose set the fingerprint covers: every
// key of them names work that must not be forgotten. That of a dead letter is an
// operator's.
var liveClasses = [...]byte{classDue, classHeld, classParked, classExpiry, classMail, classReport, classDead}

var classNames = map[byte]string{
	classDue: "due", classHeld: "held", classParked: "parked",
	classExpiry: "expiry", classMail: "mail", classReport: "report", classDead: "dead",
}

// chunkSize keeps every value far below Badger's value threshold (1 MiB), so
// that nothing ever goes to its value log, whose write errors are not reported.
const chunkSize = 256 << 10

// never is the due time of a hand-over that no clock moves.
var never = time.UnixMilli(1<<62 - 1)

// DueAt reads the due time of a record; zero where no clock moves it.
func DueAt(dueMS int64) time.Time {
	if dueMS >= ms(never) {
		return time.Time{}
	}
	return at(dueMS)
}

// newKey has room for the whole key at once: keys that grew as they were put together
// were a tenth of all allocations of a delivery.
func newKey(class byte, size int) []byte { return append(make([]byte, 0, size), class) }

func idKey(class byte, id ID) []byte { return append(newKey(class, 1+16), id[:]...) }

func chunkKey(class byte, id ID, chunk int) []byte {
	return binary.BigEndian.AppendUint16(append(newKey(class, 1+16+2), id[:]...), uint16(chunk))
}

func agentPrefix(class byte, a Agent) []byte {
	return binary.BigEndian.AppendUint32(newKey(class, 1+4), uint32(a))
}

func dueKey(class byte, a Agent, dueMS int64, id ID) []byte {
	k := binary.BigEndian.AppendUint32(newKey(class, 1+4+8+16), uint32(a))
	k = binary.BigEndian.AppendUint64(k, uint64(dueMS))
	return append(k, id[:]...)
}

func timeKey(class byte, ms int64, tail []byte) []byte {
	k := binary.BigEndian.AppendUint64(newKey(class, 1+8+len(tail)), uint64(ms))
	return append(k, tail...)
}

// splitDue reads the due time and id off a key of the due, mail or expiry
// class; the id is its last 16 bytes and the time the 8 before.
func splitDue(k []byte) (time.Time, ID) {
	n := len(k)
	return time.UnixMilli(int64(binary.BigEndian.Uint64(k[n-24 : n-16]))), ID(k[n-16:])
}

func deadKey(endedMS int64, id ID) []byte { return timeKey(classDead, endedMS, id[:]) }

func heldKey(holder, id ID) []byte {
	return append(append(newKey(classHeld, 1+16+16), holder[:]...), id[:]...)
}

func reportKey(home ID, no uint64) []byte {
	return binary.BigEndian.AppendUint64(append(newKey(classReport, 1+16+8), home[:]...), no)
}

func nameKey(name string) []byte { return append([]byte{className}, name...) }

var (
	agentEventsKey = []byte{classAgents}

	metaKey  = []byte{classMeta, 'm'}
	birthKey = []byte{classMeta, 'b'}
)

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
