package mutants_test

// ofWhatIsSeldom are guards of what hardly ever comes about.
var ofWhatIsSeldom = []mutant{
	{
		guard: "a call that a signal has ended is a disk that fails",
		file:  "journal/wal.go",
		old:   "err := call(); !errors.Is(err, unix.EINTR) {\n",
		new:   "err := call(); err != nil || !errors.Is(err, unix.EINTR) {\n",
		pkg:   inJournal, test: "TestInterruptedCallIsMadeAgain",
	},
	{
		guard: "a small store is compacted whatever is deleted",
		file:  "journal/compact.go",
		old:   "	if deletes < g.after {\n",
		new:   "	if deletes == 0 {\n",
		pkg:   inJournal, test: "TestCompactsWhatIsDeleted",
	},
	{
		guard: "a start lists one batch of old dead letters",
		file:  "journal/bringup.go",
		old:   "; err != nil || done {\n",
		new:   "; err != nil || done || len(ids) > 0 {\n",
		pkg:   inJournal, test: "TestOldJournalOfMany",
	},
	{
		guard: "what makes a reader panic stays for the next",
		file:  "journal/mend.go",
		old:   "		err = j.do(ctx, first, j.quarantine(b))\n",
		new:   "",
		pkg:   inJournal, test: "TestReaderThatPanics",
	},
	{
		guard: "what is kept of a damaged file is lost with the power",
		file:  "journal/leaveout.go",
		old:   "	return syncDir(dir)\n",
		new:   "	return nil\n",
		pkg:   inJournal, test: "TestOriginalIsKeptBeforeItIsReplaced",
	},
	{
		guard: "where a damaged file is kept is lost with the power",
		file:  "journal/mendtable.go",
		old:   "			err = syncDir(keep)\n",
		new:   "			err = nil\n",
		pkg:   inJournal, test: "TestOriginalIsKeptBeforeItIsReplaced",
	},
	{
		guard: "that there is where a damaged file is kept is lost with the power",
		file:  "journal/leaveout.go",
		old:   ", syncDir(filepath.Dir(keep))",
		new:   "",
		pkg:   inJournal, test: "TestOriginalIsKeptBeforeItIsReplaced",
	},
}
