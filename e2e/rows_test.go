package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// What can go wrong around a journal and its apps, and the tests that make it go wrong. A
// row that owes something is not green.
var rows = []struct {
	fault string
	tests []string
	owes  string // what of it no test does
}{
	{"SIGKILL at random", []string{"TestKillLoop", "TestKillLoopWithALostHolder", "TestKillLoopOverPeople", "TestFileCreatedAndNotYetSized"}, ""},
	{"SIGKILL between a commit and its 2xx", []string{"TestCrashWalk", "TestOneKeyOneIntent"}, ""},
	{"SIGKILL between a holder's commit and home's", []string{"TestCrashWalk", "TestHomeKilledWithOffersOnTheWire"}, ""},
	{"SIGKILL between a lease and its payload, and during an answer", []string{"TestCrashWalk", "TestHolderCrashIsNoAttempt"}, ""},
	{"power cut", []string{"TestPowerCut", "TestEachCommitIsSyncedWhereItIs"}, ""},
	{"a sync fails", []string{"TestSyncErrorStopsTheProcess", "TestEveryWriteFailsBothWays", "TestFailedSyncStopsTheJournal", "TestMarkIsSynced", "TestSystemErrorAtAStart", "TestVolumeThatFails", "TestLogGoneDuringItsSync", "TestVerifyOfWhatMayBeWhole"}, ""},
	{"a compaction loses a table", []string{"TestScrubFindsALostTable", "TestScrubFindsWhatTheStoreLoses", "TestLostTable", "TestAcceptLossOfATable", "TestAcceptLossCutShort", "TestLostTableOfWhatWasTaken"}, ""},
	{"no space left", []string{"TestFullDisk", "TestSpaceGuard", "TestSpaceSettings", "TestRoomForACompaction", "TestRoomForTheLog", "TestSmallVolume", "TestBallastOfTheLastRun", "TestMarkOnAFullDisk", "TestWhyOfAFullDiskElsewhere", "TestFullDiskHoldsUpNothingAccepted", "TestAcceptLossWithoutRoom", "TestStartIsGivenUpWithoutRoom", "TestRoomThatIsNotKnown", "TestVerifyWithoutRoom"}, ""},
	{"no inode left", []string{"TestFullDisk", "TestSpaceGuard", "TestShortOfInodes", "TestVerifyWithoutRoom"}, ""},
	{"a slow disk, and one that hangs", []string{"TestSlowDisk", "TestHungDisk", "TestHungDiskEndsTheProcess", "TestFrozenVolume", "TestAllIsSeenOfADiskThatHangs", "TestStopOnADiskThatHangs", "TestStopWhileAHungDiskIsOpened", "TestFiguresDoNotWaitForTheDisk", "TestFiguresOfAHungDisk"}, ""},
	{"wrong bits in files", []string{"TestFlips", "TestFilesAreChecked", "TestCorruptRecordBlocksNobody", "TestDamagedRecordCostsItsIntent", "TestVerifyNamesDamage", "TestVerifyGoesOnPastAFile", "TestAcceptLossOfRecords", "TestDamageOfATableCostsWhatItHits", "TestBadBitUnderARunningSidecar", "TestTableThatGoesBadInUse", "TestFilesOnWhichNothingRests", "TestDirectoryInPlaceOfAFile", "TestDirectoryInPlaceOfASpareFile"}, ""},
	{"a journal opened twice, or put back from a copy", []string{"TestTwoLiveCopiesOfAReceiver", "TestTwoLiveCopiesOfASender", "TestJournalIsOpenOnce", "TestPartOfAJournalIsNone", "TestOwnerThatLivesKeepsTheJournal", "TestOlderCopyIsFoundOut", "TestPairWithAnOlderCopy", "TestOlderCopyOfAReceiver", "TestOlderCopyOfAHome", "TestOlderCopyBeginsAnEpoch"}, ""},
	{"a holder that is lost, or back late", []string{"TestLostHolder", "TestHolderBackLate", "TestStoppedHolder", "TestOldHoldersFactsDoNotCount", "TestSettledGoesNowhereElse", "TestHomeKilledAndHolderCannotBeAsked", "TestForgetPeer"}, ""},
	{"a home, or a volume, that is lost", []string{"TestHomeGone", "TestReceiverDurability", "TestReceiverDurabilityOutOfReach", "TestEphemeralVolumeIsSaid"}, ""},
	{"an end that nobody can hear of", []string{"TestCancelWhileLeased", "TestCancelWhileCutOff", "TestDeadlineWhileCutOff", "TestNoHandoverAfterDeadline", "TestDeliverByPasses", "TestDeadlinePassesWhileDown"}, ""},
	{"clocks that jump", []string{"TestNothingExpiresByAJump", "TestLittleJumpEndsNothing", "TestDowntimeIsWhatTheMachineSays", "TestLeaseLastsByTheTimeThatPasses", "TestSchedulesWhenTheClockJumps", "TestHistoryForgetsKeys"}, ""},
	{"more connections than files, and files taken from inside", []string{"TestStrangersTakeNoFiles", "TestFilesTakenFromInside", "TestStrangersMakeWay", "TestAppsAtWorkKeepTheirPlaces", "TestAllFilesTaken", "TestBatchWaitsForFiles", "TestMoreTablesThanFiles"}, ""},
	{"a backlog, and large bodies, in little memory", []string{"TestBacklogMemory", "TestLargeBodiesAtOnce", "TestBodiesHaveRoom", "TestSlowReadersOfLargeIntents", "TestAnswersHaveRoom"}, ""},
	{"traffic that never pauses", []string{"TestSoak", "TestHistoryUnderTraffic", "TestWeightOfWhatIsDeleted", "TestCompactsWhatIsDeleted"}, ""},
	{"an intent on which the sidecar itself panics", []string{"TestPanicCostsItsIntentAlone", "TestHolderTellsWhatItCannotWorkOn", "TestReportThatCannotBeApplied", "TestOfferThatCannotBeHeldIsRefused", "TestUnreadableIntentEnds"}, ""},
	{"an intent that fails each time, or kills its app", []string{"TestPoisonIntent", "TestNeighboursOfAPoison", "TestPoisonTakesItsBatchAlong", "TestHangingAppHoldsNobodyUp"}, ""},
	{"an app that never answers, dies, works on for ever", []string{"TestAppDiesWithALease", "TestWorkTimeout", "TestExtend", "TestHeartbeatsEnd"}, ""},
	{"an answer after its lease", []string{"TestAppAnswersLate", "TestStaleLeaseChangesNothing", "TestFirstAnswerWins"}, ""},
	{"who waits is gone, or waits no longer", []string{"TestWaitersAreGone", "TestPullWhoseClientIsGoneCountsNoAttempt", "TestReadersThatDoNotRead", "TestWaitRunsOut", "TestWaitIsInterrupted"}, ""},
	{"names that look alike, routes that change", []string{"TestSpellings", "TestAddresses", "TestPeersFileRewrittenInFlight", "TestPeersFileEditedBrokenMended", "TestOneJournalAtTwoAddresses", "TestLiveSwap", "TestKillLoop"}, ""},
	{"SIGTERM with work under way", []string{"TestStopFinishesWhatIsLeased", "TestPostsDuringStop", "TestRollingRestart", "TestSecondSignalDoesNotWait", "TestStopWithoutLoad", "TestStopReleasesWhatIsNotLeased", "TestStopWhileTheKernelIsSlow"}, ""},
}

// TestRows: every row names tests that exist. Which rows are green is for the run of all
// tests to say (e2e/run), from these lines and from what was red.
func TestRows(t *testing.T) {
	t.Parallel()
	exists := testsInTree(t)
	for _, r := range rows {
		for _, name := range r.tests {
			if !exists[name] {
				t.Errorf("%q is said to be held by %s, which is in no test file", r.fault, name)
			}
		}
		owes := ""
		if r.owes != "" {
			owes = " (owed: " + r.owes + ")"
		}
		if len(r.tests) == 0 && r.owes == "" {
			t.Errorf("%q has no test and owes nothing", r.fault)
		}
		fmt.Printf("row: %s: %s%s\n", r.fault, strings.Join(r.tests, ", "), owes)
	}
}
