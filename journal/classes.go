package journal

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// class is what is kept under a first byte of keys: records of one message, chunks of a
// blob, or entries of an index, which have no value.
type class struct {
	name   string
	of     keyPlace             // how the key names an intent, if it does
	record func() proto.Message // nil: chunks, or an index
	chunks bool
}

// keyPlace is where a key has the id of an intent.
type keyPlace uint8

const (
	ofNone keyPlace = iota
	ofHead          // right behind its class
	ofTail          // its last 16 bytes
)

func record[M any, P interface {
	*M
	proto.Message
}]() func() proto.Message {
	return func() proto.Message { return P(new(M)) }
}

// keyClasses are all there are: what has a key of another was written by nobody.
var keyClasses = map[byte]class{
	classHead:     {name: "head", of: ofHead, record: record[wire.Head]()},
	classEnvelope: {name: "envelope", of: ofHead, chunks: true},
	classEvents:   {name: "events", of: ofHead, record: record[wire.Events]()},
	classOutcome:  {name: "outcome", of: ofHead, chunks: true},
	classPolicy:   {name: "policy", of: ofHead, record: record[wire.Policy]()},
	classHandover: {name: "hand-over", of: ofHead, record: record[wire.Handover]()},
	classPlan:     {name: "plan", of: ofHead, record: record[wire.Plan]()},
	classPurged:   {name: "purged dead letter", of: ofHead, record: record[wire.Purged]()},
	classAside:    {name: "what was set aside", of: ofHead, record: record[wire.Aside]()},
	classThread:   {name: "thread", of: ofHead, record: record[wire.Thread]()},

	classDue:     {name: "index due", of: ofTail},
	classHeld:    {name: "index held", of: ofTail},
	classParked:  {name: "index parked", of: ofTail},
	classExpiry:  {name: "index expiry", of: ofTail},
	classMail:    {name: "index mail", of: ofTail},
	classDead:    {name: "index dead", of: ofTail},
	classRetain:  {name: "index of what has ended", of: ofTail},
	classHistory: {name: "index of the history", of: ofTail},
	classInbox:   {name: "index of inboxes", of: ofTail},
	classTask:    {name: "index of tasks", of: ofTail},
	classForget:  {name: "index of idempotency keys"},

	classReport:   {name: "report", record: record[wire.Report]()},
	classHolder:   {name: "holder", record: record[wire.Holder]()},
	classHome:     {name: "home", record: record[wire.HomePeer]()},
	classDedupe:   {name: "idempotency key", record: record[wire.Dedupe]()},
	className:     {name: "address", record: record[wire.Name]()},
	classSchema:   {name: "schema", record: record[wire.Schema]()},
	classWebhook:  {name: "subscription", record: record[wire.Subscription]()},
	classNotice:   {name: "notice", record: record[wire.Notice]()},
	classAccount:  {name: "service account", record: record[wire.Account]()},
	classAgents:   {name: "what operators did", record: record[wire.AgentEvents]()},
	classApproval: {name: "approval", record: record[wire.Approval]()},
	classSchedule: {name: "schedule", record: record[wire.Schedule]()},
	classMeta:     {name: "journal"}, // two records, read by name
}

// isIndex reports whether what is kept under a class are entries of an index.
func isIndex(class byte) bool {
	c, known := keyClasses[class]
	return known && c.record == nil && !c.chunks
}

// intentOf reads the intent off a key of a class that has one.
func intentOf(key []byte) (id ID, ok bool) {
	switch of := keyClasses[key[0]].of; {
	case of == ofHead && len(key) >= 17:
		return ID(key[1:17]), true
	case of == ofTail && len(key) >= 17:
		return ID(key[len(key)-16:]), true
	}
	return ID{}, false
}

// describe names a key for people.
func describe(key []byte) string {
	c, known := keyClasses[key[0]]
	id, of := intentOf(key)
	switch {
	case !known:
		return fmt.Sprintf("key %x", key)
	case of:
		return fmt.Sprintf("%s of %s", c.name, id)
	case key[0] == className, key[0] == classSchema, key[0] == classMeta:
		return fmt.Sprintf("%s %q", c.name, key[1:])
	}
	return fmt.Sprintf("%s %x", c.name, key[1:])
}
