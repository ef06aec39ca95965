package mutants_test

const (
	inAPI      = "./proxy/api"
	inOutbound = "./outbound"
	inJournal  = "./journal"
	inState    = "./journal/state"
	inInbound  = "./inbound"
	inWebhook  = "./proxy/webhook"
	inE2E      = "./e2e"
)

// all are the guards, each with the test that stands for it.
var all = []mutant{
	// The journal: what durable means.
	{
		guard: "no sync",
		file:  "journal/store.go",
		old:   "WithSyncWrites(true)",
		new:   "WithSyncWrites(false)",
		pkg:   inE2E, test: "TestPowerCut/ext4",
	},
	{
		guard: "no fail-stop",
		file:  "journal/commit.go",
		old:   "	if j.failure.CompareAndSwap(nil, &err) {",
		new:   "	if false {",
		pkg:   inJournal, test: "TestEveryWriteFailsBothWays",
	},
	{
		guard: "no dedupe",
		file:  "journal/accept.go",
		old:   "		if err != nil || replayed {\n",
		new:   "		if _ = replayed; err != nil {\n",
		pkg:   inJournal, test: "TestKeyMakesOneIntent",
	},
	{
		guard: "any body for a key",
		file:  "journal/accept.go",
		old:   "if !bytes.Equal(d.Fingerprint, k.Fingerprint[:]) {",
		new:   "if false && !bytes.Equal(d.Fingerprint, k.Fingerprint[:]) {",
		pkg:   inJournal, test: "TestKeyMakesOneIntent",
	},
	{
		guard: "no report dedupe",
		file:  "journal/apply.go",
		old:   "	if r.No == rec.Applied+1 {\n",
		new:   "	if r.No <= rec.Applied+1 {\n",
		pkg:   inE2E, test: "TestCrashWalk/home-after-events-commit",
	},
	{
		guard: "no checksum",
		file:  "journal/codec.go",
		old:   "	case binary.BigEndian.Uint32(rec[1:5]) != checksum(key, rec[5:]):",
		new:   "	case false:",
		pkg:   inJournal, test: "FuzzRecord",
	},
	{
		guard: "no fingerprint check",
		file:  "journal/open.go",
		old:   "differences(scanSums(txn)); len(diff) > 0 {",
		new:   "differences(scanSums(txn)); len(diff) > 1<<20 {",
		pkg:   inJournal, test: "TestOpenRefusesALostIndexKey",
	},
	{
		guard: "no high-water mark check",
		file:  "journal/open.go",
		old:   "	if last != nil && meta.Seq < last.Seq && !acceptLoss {",
		new:   "	if false {",
		pkg:   inJournal, test: "TestOpenRefusesLostBatches",
	},
	{
		guard: "a lost store starts empty",
		file:  "journal/open.go",
		old:   "	if fresh && last != nil {",
		new:   "	if false {",
		pkg:   inJournal, test: "TestOpenNeverStartsEmpty",
	},
	{
		guard: "reports with a gap",
		file:  "journal/apply.go",
		old:   "	if r.No > rec.Applied+1 {",
		new:   "	if false {",
		pkg:   inJournal, test: "TestRepeatedReportsChangeNothing",
	},

	// The hand-over: who may settle.
	{
		guard: "no lease fence",
		file:  "journal/settle.go",
		old:   "p != state.Leased && p != state.Working || s.Lease != leaseOf(&h.rec) {",
		new:   "p != state.Leased && p != state.Working {",
		pkg:   inJournal, test: "TestStaleLeaseChangesNothing",
	},
	{
		guard: "a repeated settle is refused",
		file:  "journal/settle.go",
		old:   "if s.Lease == ID(pad(h.rec.SettledLease)) && string",
		new:   "if false && s.Lease == ID(pad(h.rec.SettledLease)) && string",
		pkg:   inJournal, test: "TestLocalPathCompletes",
	},
	{
		guard: "a crash is an attempt",
		file:  "journal/settle.go",
		old:   "		if h.rec.Boot != t.j.birth.Boot {",
		new:   "		if false {",
		pkg:   inInbound, test: "TestRestartKeepsLeasesAndCounts",
	},
	{
		guard: "handed over after the deadline",
		file:  "journal/push.go",
		old:   "{at(rec.DeadlineAtMs), true}",
		new:   "{at(rec.DeadlineAtMs), false}",
		pkg:   inInbound, test: "TestPastItsLimitsNothingIsHandedOver",
	},

	{
		guard: "no door",
		file:  "inbound/door.go",
		old:   "	if len(d.failed) >= failsToShut {",
		new:   "	if false {",
		pkg:   inE2E, test: "TestDoorShutsOnASickApp",
	},
	{
		guard: "a failed probe is an attempt",
		file:  "inbound/door.go",
		old:   "func (d *door) spares() bool { return d.shut != Open }",
		new:   "func (d *door) spares() bool { return false }",
		pkg:   inInbound, test: "TestLapsesBehindAShutDoorAreNoAttempts",
	},
	{
		guard: "an app that holds one gets no second",
		file:  "inbound/turn.go",
		old:   "		b.credit.starve(now)\n",
		new:   "",
		pkg:   inInbound, test: "TestCreditGrowsBeyondWhatTheAppHolds",
	},
	{
		guard: "slow hangs never open the breaker",
		file:  "outbound/breaker.go",
		old:   "	interval := max(time.Minute, tripConsecutive*2*(o.OfferTimeout+o.RedialMin))\n",
		new:   "	interval := time.Minute / 2\n",
		pkg:   inOutbound, test: "TestMutePeer",
	},
	{
		guard: "a word at home stays there",
		file:  "outbound/dispatcher.go",
		old:   "		s.out.update(c)\n",
		new:   "		_ = s\n",
		pkg:   inOutbound, test: "TestWordAtHomeIsTold",
	},
	{
		guard: "a word missed is not repeated",
		file:  "journal/home.go",
		old:   "			if found && h.Phase.Open() && h.Continued < l.head.Continued {",
		new:   "			if found && h.Continued > l.head.Continued {",
		pkg:   inJournal, test: "TestWordAtHomeReachesTheHolder",
	},
	{
		guard: "a word is about any hand-over",
		file:  "journal/word.go",
		old:   "if err := t.saveHand(h); err != nil || h.rec.Handovers != c.On {",
		new:   "if err := t.saveHand(h); err != nil {",
		pkg:   inJournal, test: "TestWordIsAboutOneHandOver",
	},
	{
		guard: "a word shortens a lease",
		file:  "journal/word.go",
		old:   "	if told := at(h.rec.LeaseUntilMs); until.Before(told) {\n		until = told\n	}\n",
		new:   "",
		pkg:   inJournal, test: "TestWordGivesTime",
	},
	{
		guard: "no lease settles",
		file:  "journal/settle.go",
		old:   "	if s.Lease.IsZero() {\n",
		new:   "	if false {\n",
		pkg:   inJournal, test: "TestNoLeaseIsNoLease",
	},
	{
		guard: "the door is deaf to words without a lease",
		file:  "inbound/mailbox.go",
		old:   "	m.hear(b, s.ID, succeeded, time.Now())\n",
		new:   "",
		pkg:   inInbound, test: "TestDoorHearsWordsWithoutALease",
	},
	{
		guard: "an old lease holds a recovering app back",
		file:  "inbound/box.go",
		old:   "		if f.opening == b.door.opened {\n",
		new:   "		if f.opening <= b.door.opened {\n",
		pkg:   inInbound, test: "TestRecoveringDoesNotWaitForAnOldLease",
	},
	{
		guard: "a reader of one gets nothing after a release",
		file:  "inbound/credit.go",
		old:   "		least = 2 ",
		new:   "		least = 1 ",
		pkg:   inInbound, test: "TestReaderOfOneIsServedAfterARelease",
	},
	{
		guard: "what is put off leaves no room for a probe",
		file:  "inbound/credit.go",
		old:   "return min(1+min(1, d.readers)+c.busy.most(), max(c.cap, 2))",
		new:   "return 1 + min(1, d.readers)",
		pkg:   inInbound, test: "TestPutOffLeavesRoomForAProbe",
	},
	{
		guard: "what is put off is given back",
		file:  "inbound/drain.go",
		old:   "from := later(e.Due, later(e.Held, since))",
		new:   "from := later(e.Held, since)",
		pkg:   inInbound, test: "TestPutOffLeavesRoomForAProbe",
	},
	{
		guard: "an app is called off loopback",
		file:  "proxy/webhook/target.go",
		old:   "			if remote {\n",
		new:   "			if remote || true {\n",
		pkg:   inWebhook, test: "TestOnlyLoopbackIsCalled",
	},
	{
		guard: "redirects are followed",
		file:  "proxy/webhook/target.go",
		old:   "return http.ErrUseLastResponse",
		new:   "return nil",
		pkg:   inWebhook, test: "TestRedirectsAreNotFollowed",
	},
	{
		guard: "a pushed intent is not marked after a kill",
		file:  "journal/push.go",
		old:   " || rec.HeldBoot < j.birth.UncleanBoot",
		new:   "",
		pkg:   inJournal, test: "TestPushedAndKilled",
	},
	{
		guard: "no fence of pushes",
		file:  "journal/push.go",
		old:   "h.phase() != state.Ready || h.rec.Handovers != p.Attempt-1",
		new:   "h.phase() != state.Ready",
		pkg:   inJournal, test: "TestPush",
	},
	{
		guard: "what is with the app is given back",
		file:  "inbound/drain.go",
		old:   "e.Phase != state.Ready || pushed[e.ID] || ",
		new:   "e.Phase != state.Ready || ",
		pkg:   inInbound, test: "TestPushEndsWithADrain",
	},
	{
		guard: "an app that is down burns attempts",
		file:  "proxy/webhook/pusher.go",
		old:   "	case sent:\n",
		new:   "	case sent || true:\n",
		pkg:   inWebhook, test: "TestAppThatIsNotThere",
	},
	{
		guard: "the old secret stops at once",
		file:  "proxy/webhook/keyring.go",
		old:   "s.State == Current || s.State == Retiring && s.Retires.After(now)",
		new:   "s.State == Current",
		pkg:   inWebhook, test: "TestRotation",
	},
	{
		guard: "two streams carry one hand-over",
		file:  "inbound/stream.go",
		old:   "(f.conn == nil || f.conn.closed)",
		new:   "(f.conn != nil || f.conn == nil)",
		pkg:   inInbound, test: "TestStreamTakesUpWhatALostConnectionCarried",
	},
	{
		guard: "what a poll has goes to a stream",
		file:  "inbound/stream.go",
		old:   "if f.streamed && !f.settling && f.seq > s.since",
		new:   "if !f.settling && f.seq > s.since",
		pkg:   inInbound, test: "TestStreamLeavesThePollersAlone",
	},
	{
		guard: "apps that work one by one run out of time",
		file:  "inbound/stream.go",
		old:   "			f.until = until\n",
		new:   "			_ = f\n",
		pkg:   inInbound, test: "TestSettleRestartsTheClockOfTheResponse",
	},
	{
		guard: "an offer repeated is held twice",
		file:  "journal/hold.go",
		old:   "	if found && (h.phase().Open() || h.phase().Settled()) {",
		new:   "	if false {",
		pkg:   inInbound, test: "TestRepeatedOfferIsHeldAgainBeyondTheWindow",
	},

	// The lifecycle: who wins.
	{
		guard: "no offer number",
		file:  "journal/home.go",
		old:   "	if r.Raise {\n		l.head.OfferNo++\n",
		new:   "	if r.Raise {\n",
		pkg:   inJournal, test: "TestFirstAnswerWins",
	},
	{
		guard: "a terminal row leaves",
		file:  "journal/state/lifecycle.go",
		old:   "	{InProgress, Complete, Completed, EventCompleted},\n",
		new:   "	{InProgress, Complete, Completed, EventCompleted},\n	{Completed, Cancel, Canceled, EventCanceled},\n",
		pkg:   inState, test: "Test.*",
	},

	// Between sidecars.
	{
		guard: "offered before the holders are asked",
		file:  "outbound/unclean.go",
		old:   "	case len(options) == 0: // our own mailbox is in the same journal: it knows",
		new:   "	case true:",
		pkg:   inOutbound, test: "TestUncleanStartWithAnEndpointDown",
	},
	{
		guard: "an owed offer goes to another",
		file:  "outbound/session.go",
		old:   "		case f.stage == claimed || f.ended && f.stage == sent:",
		new:   "		case f.stage == claimed || f.stage == sent:",
		pkg:   inOutbound, test: "TestOwedOfferStaysWithItsHolder",
	},
	{
		guard: "an older copy is believed",
		file:  "journal/peers.go",
		old:   "	case applied > last:",
		new:   "	case false:",
		pkg:   inJournal, test: "TestOlderCopyIsFoundOut",
	},
	{
		guard: "an operator is not heard",
		file:  "journal/hold.go",
		old:   "	resumed := h.phase() == state.Spent &&",
		new:   "	resumed := false && h.phase() == state.Spent &&",
		pkg:   inJournal, test: "TestOperatorLetsItGoOn",
	},
	{
		guard: "a torn file stops the start",
		file:  "journal/lock.go",
		old:   "info.Size() > 0 {",
		new:   "info.Size() >= 0 {",
		pkg:   inJournal, test: "TestFileWithoutContentsIsSwept",
	},

	// What an app may ask.
	{
		guard: "a stalled body is waited for",
		file:  "proxy/api/body.go",
		old:   "	} else if timed {",
		new:   "	}\n	if timed {",
		pkg:   inAPI, test: "TestStalledBodyIsCutOff",
	},
	{
		guard: "any page may post",
		file:  "proxy/api/guard.go",
		old:   "	err := a.guard(r)\n",
		new:   "	var err error\n",
		pkg:   inE2E, test: "TestBadInputChangesNothing",
	},
}
