package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is easy to get wrong about AXP, and the tests that would notice. A line
// that owes something does not count.
var checklist = []struct {
	line  string
	tests []string
	owes  string // what of it no test looks at
}{
	// transport
	{"200 on every success, with a JSON object", []string{"TestSuccessIsAlwaysAJSONObject", "TestCreateAnswersExactlyAXPsFourKeys", "TestAnswersFitAXPsSchemas"}, ""},
	{"any way to send a key; only health is open; 401 has a code", []string{"TestAnyKeyOrNone", "TestOnlyHealthIsOpen", "TestWhereTheKeyIs"}, ""},
	{"POST without a body; unknown fields ignored; since=0", []string{"TestSuccessIsAlwaysAJSONObject", "TestEventsHaveAXPsShape"}, ""},
	{"X-Trace-Id echoed, X-Request-Id set, Retry-After an integer", []string{"TestAnswersAreNamed", "TestPostsDuringStop"}, ""},
	{"streams are not cut, held back, compressed or cached", []string{"TestStreamsAreNotHeldBack", "TestConnectionIsUsableAfterAStream", "TestIdleConnectionsOutliveClients"}, ""},
	{"addresses of any number of segments, encoded or not; suffixes win", []string{"TestAddressesInPaths"}, ""},
	// streams
	{"when a stream ends, and how", []string{"TestStreamLog", "TestStreamEndsInWords", "TestStreamEndsOfAnEndedIntent", "TestQuirkyClients"}, ""},
	{"frames to the letter; stream.timeout says next_seq", []string{"TestStreamsAreNotHeldBack", "TestIdleStreamIsHeldAndSaysWhereToGoOn", "TestStreamOfALineByLineReader"}, ""},
	{"since is exclusive; an agent's numbers grow, survive, are new on redelivery", []string{"TestEventsHaveAXPsShape", "TestStreamLog", "TestRestartKeepsTheLogOfHandovers", "TestAppDiesWithALease"}, ""},
	{"statuses agents act on; since=0 gives all that is open and nothing that ended", []string{"TestQuirkyClients", "TestUnknownAgentWaits"}, ""},
	{"a stream opened first gets what comes later; two watchers both do", []string{"TestUnknownAgentWaits", "TestNoEventIsMissedBetweenReadingAndWaiting", "TestStreamsMissNoEvent"}, ""},
	{"an unknown agent waits", []string{"TestUnknownAgentWaits"}, ""},
	// state
	{"two events before create returns; no gap; one end", []string{"TestEventsHaveAXPsShape", "TestOneOfManyAnswersWins", "TestKillLoop"}, ""},
	{"resolve straight after create; a second end is 409, resume too", []string{"TestResolveAnswersFourKeys"}, ""},
	{"resume's two meanings", []string{"TestResumeHasTwoMeanings", "TestResumeAtEitherSide"}, ""},
	{"lifecycle_status; unset fields absent; the outcome in details and on the intent", []string{"TestAnswersFitAXPsSchemas", "TestTerminalDetailsCarryTheOutcome", "TestResolveAnswersFourKeys"}, ""},
	{"keys on every write: race-safe, durable, by path, without correlation_id", []string{"TestIdempotencyKeyMakesOneIntent", "TestConcurrentFirstCallsMakeOneIntent", "TestOneKeyOneIntent", "TestAnswersHaveKeys"}, ""},
	{"the deadline: on time, over restarts, ends streams, serves reply_to", []string{"TestDeadlineEndsStreams", "TestDeadlinePassesWhileDown", "TestReplyToOwnSidecar"}, ""},
	{"acknowledged writes survive kill -9", []string{"TestKillLoop", "TestCrashWalk", "TestOneKeyOneIntent", "TestQuirkyClients", "TestEventsReachSubscribers"}, ""},
	// people
	{"human_task without title, with notify_email, type form; a bad outcome is 422 and it waits on; a refusal is not COMPLETED", []string{"TestHumanTaskWaits", "TestHumanTaskIsDecided", "TestWrongDecisionsAreRefused", "TestTaskOutlivesKills"}, ""},
	{"reminders and escalation as events, also over a restart", []string{"TestRemindersAndEscalation", "TestRemindersOverARestart", "TestTaskIsEscalated"}, ""},
	{"thread_id is intent_id, also in the reply_to inbox; newest first; timeline never empty; actor cut", []string{"TestInboxHasWhatIsSentAndWasSent", "TestCompletionIsAThread", "TestMessages", "TestLongActorsAreCut", "TestInboxConformance"}, ""},
	{"delegator keeps the thread; actions on done threads are 200; random approval id is 200", []string{"TestDelegate", "TestDecisionOnWhatHasEnded", "TestApprovals", "TestInboxConformance"}, ""},
	{"changes page without gap or repeat; a saved cursor is valid later", []string{"TestInboxChanges", "TestInboxOverARestart"}, ""},
	// hooks
	{"subscriptions without an owner; no secret echoed; publishing waits for nobody; HMAC over the bytes", []string{"TestSubscriptionOfNobodyIsEveryones", "TestEventsReachSubscribers"}, ""},
	{"a failing callback: retries, delivery_failed, FAILED, dead letter, replay", []string{"TestAppThatAlwaysFails", "TestFailingCallback", "TestFailingCallbackIsReplayed"}, ""},
}

// TestChecklist: every line names tests that exist.
func TestChecklist(t *testing.T) {
	t.Parallel()
	exists := testsInTree(t)
	proved := 0
	for _, c := range checklist {
		for _, name := range c.tests {
			if !exists[name] {
				t.Errorf("%q is said to be proved by %s, which is in no test file", c.line, name)
			}
		}
		owes := ""
		if c.owes == "" {
			proved++
		} else {
			owes = " (owed: " + c.owes + ")"
		}
		if len(c.tests) == 0 && c.owes == "" {
			t.Errorf("%q has no test and owes nothing", c.line)
		}
		fmt.Printf("checklist: %s: %s%s\n", c.line, strings.Join(c.tests, ", "), owes)
	}
	fmt.Printf("checklist: %d of %d lines\n", proved, len(checklist))
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

func testsInTree(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, dir := range []string{"journal", "inbound", "outbound", "proxy", "cmd", "e2e"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range testFunc.FindAllSubmatch(text, -1) {
				names[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}
