package mutants_test

// ofOpening are the guards of a start, and of what one operation makes of an intent.
var ofOpening = []mutant{
	// What a start finds.
	{
		guard: "a journal that is new was killed",
		file:  "journal/open.go",
		old:   "last == nil && !fresh || len(bad) > 0\n	if",
		new:   "last == nil || len(bad) > 0\n	if",
		pkg:   inJournal, test: "TestIdentitySurvives",
	},
	{
		guard: "a file that is kept from a start is damaged",
		file:  "journal/open.go",
		old:   "	if bySystem(err) {\n		return &SystemError{Dir: dir, Err: err, Unread:",
		new:   "	if bySystem(err) && false {\n		return &SystemError{Dir: dir, Err: err, Unread:",
		pkg:   inJournal, test: "TestAcceptLossOfWhatMayBeWhole",
	},
	{
		guard: "each start is one after a kill",
		file:  "journal/open.go",
		old:   "	if j.unclean {\n		j.birth.UncleanBoot",
		new:   "	if true {\n		j.birth.UncleanBoot",
		pkg:   inJournal, test: "TestPushedAndKilled",
	},
	{
		guard: "how much the history takes is forgotten at a start",
		file:  "journal/open.go",
		old:   "	j.history.load(meta)\n",
		new:   "",
		pkg:   inJournal, test: "TestHistoryOfAHolder",
	},
	{
		guard: "nothing is let go until somebody asks for it",
		file:  "journal/open.go",
		old:   "	j.sweeps.Go(func() { j.historyLoop(ctx) })\n",
		new:   "",
		pkg:   inJournal, test: "TestHistoryGoesByItself",
	},
	{
		guard: "there is a journal in each directory",
		file:  "journal/open.go",
		old:   "	return !fresh && err == nil, err\n",
		new:   "	return err == nil || fresh, err\n",
		pkg:   inJournal, test: "TestExists",
	},
	{
		guard: "what a clock did over a restart is said to nobody",
		file:  "journal/clock.go",
		old:   "	c.tell(now, now.Paused)\n",
		new:   "	_ = now\n",
		pkg:   inJournal, test: "TestNothingExpiresByAJump/an_hour_back_over_a_restart",
	},
	{
		guard: "commits of a start go to a log that is not the newest",
		file:  "journal/store.go",
		old:   "err == nil && n > newest {",
		new:   "err == nil {",
		pkg:   inJournal, test: "TestNewestMemtable",
	},
	{
		guard: "what the store warns of is never a disk that fails",
		file:  "journal/store.go",
		old:   "\n	w.see(format, args)\n",
		new:   "\n",
		pkg:   inJournal, test: "TestTripwire",
	},

	// What a start brings to the present schema.
	{
		guard: "an old dead letter is listed twice after a kill",
		file:  "journal/bringup.go",
		old:   "h.DeadMs == 0 && (",
		new:   "(",
		pkg:   inJournal, test: "TestOldJournalGainsIndex",
	},
	{
		guard: "an old dead letter that ran out of time stays unlisted",
		file:  "journal/bringup.go",
		old:   "(s == state.Failed || s == state.TimedOut)",
		new:   "(s == state.Failed)",
		pkg:   inJournal, test: "TestOldJournalGainsIndex",
	},
	{
		guard: "what an app failed is an old dead letter",
		file:  "journal/bringup.go",
		old:   "		if l.endedFor().DeadLetter() == \"\" {\n",
		new:   "		if false {\n",
		pkg:   inJournal, test: "TestOldJournalGainsIndex",
	},
	{
		guard: "nobody hears of what a start has ended",
		file:  "journal/bringup.go",
		old:   "	for _, f := range t.batch.after {\n		f()\n	}\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfRecords/the_envelopes",
	},

	// What an operation writes.
	{
		guard: "what is written again counts twice in its batch",
		file:  "journal/tx.go",
		old:   "		t.op.bytes -= old.size(string(key))\n",
		new:   "",
		pkg:   inJournal, test: "TestWritesCountOnce",
	},
	{
		guard: "what is written is subtracted first",
		file:  "journal/tx.go",
		old:   "	if old, ok := t.op.writes[string(key)]; ok {\n",
		new:   "	if old := t.op.writes[string(key)]; true {\n",
		pkg:   inJournal, test: "TestWritesCountOnce",
	},
	{
		guard: "what is taken back takes room in its batch",
		file:  "journal/tx.go",
		old:   "	t.op.bytes -= t.op.writes[string(key)].size(string(key))\n",
		new:   "",
		pkg:   inJournal, test: "TestWritesCountOnce",
	},
	{
		guard: "a blob ends with what a longer one has left",
		file:  "journal/tx.go",
		old:   "		if len(part) < chunkSize {\n			return blob, true, nil\n		}\n",
		new:   "",
		pkg:   inJournal, test: "TestBlobInPlaceOfALongerOne",
	},
	{
		guard: "a blob that came in a batch stays, removed in it",
		file:  "journal/tx.go",
		old:   "	if w, ok := t.written(key); ok {\n		return !w.del, w.hides, nil\n",
		new:   "	if w, ok := t.written(key); ok && w.del {\n		return !w.del, w.hides, nil\n",
		pkg:   inJournal, test: "TestBlobInPlaceOfALongerOne",
	},

	// What a trigger makes of an intent.
	{
		guard: "what has ended is moved by anything",
		file:  "journal/lifecycle.go",
		old:   "	if len(rows) == 0 {\n		return false\n	}\n",
		new:   "",
		pkg:   inJournal, test: "TestMoves",
	},
	{
		guard: "a log grows without end",
		file:  "journal/lifecycle.go",
		old:   "		if keepsStatus && len(l.events.Events) >= maxEvents {\n",
		new:   "		if keepsStatus && false {\n",
		pkg:   inJournal, test: "TestMoves",
	},
	{
		guard: "a full log has no room for an end",
		file:  "journal/lifecycle.go",
		old:   "		if keepsStatus && len(l.events.Events) >= maxEvents {\n",
		new:   "		if _ = keepsStatus; len(l.events.Events) >= maxEvents {\n",
		pkg:   inJournal, test: "TestMoves",
	},
	{
		guard: "what an end says is said of the start before it",
		file:  "journal/lifecycle.go",
		old:   "		if i == len(rows)-1 {\n",
		new:   "		if i < len(rows) {\n",
		pkg:   inJournal, test: "TestMoves",
	},
	{
		guard: "why an intent is where it is goes with what gives no reason",
		file:  "journal/lifecycle.go",
		old:   "	if e.Reason != 0 {\n",
		new:   "	if true {\n",
		pkg:   inJournal, test: "TestMoves",
	},
}
