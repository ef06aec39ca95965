package mutants_test

// ofTheClock are the guards of what a clock that was wrong leaves.
var ofTheClock = []mutant{
	{
		guard: "of what a wrong clock has put off one batch comes back",
		file:  "journal/clockback.go",
		old:   "					from = key\n",
		new:   "					from = nil\n",
		pkg:   inJournal, test: "TestComesBackWhereItIs",
	},
	{
		guard: "what was put off by a clock that was right comes later for it",
		file:  "journal/clockback.go",
		old:   "; by > clockJump {\n",
		new:   "; written != 0 {\n",
		pkg:   inJournal, test: "TestComesBackWhereItIs",
	},
	{
		guard: "what is with somebody is due once a clock has held",
		file:  "journal/clockback.go",
		old:   "	if l.place() == PlaceDue {\n",
		new:   "	if true {\n",
		pkg:   inJournal, test: "TestComesBackWhereItIs",
	},
	{
		guard: "what waits for people gets a time once a clock has held",
		file:  "journal/clockback.go",
		old:   " || h.rec.DueMs == ms(never) {\n",
		new:   " {\n",
		pkg:   inJournal, test: "TestComesBackWhereItIs",
	},
	{
		guard: "work lasts as long as a wrong clock has said",
		file:  "journal/clockback.go",
		old:   "		h.rec.LeaseUntilMs = h.rec.DueMs\n",
		new:   "",
		pkg:   inJournal, test: "TestWorkOfAWrongClockEnds",
	},
	{
		guard: "a pause that comes back is time to work",
		file:  "journal/clockback.go",
		old:   "	if h.rec.LeaseUntilMs != 0 {\n",
		new:   "	if true {\n",
		pkg:   inJournal, test: "TestWorkOfAWrongClockEnds",
	},
	{
		guard: "a hand-over of a wrong clock is extended without end",
		file:  "journal/clockback.go",
		old:   "		h.rec.LeasedAtMs = ms(t.now)",
		new:   "		_ = ms(t.now)",
		pkg:   inJournal, test: "TestWorkOfAWrongClockEnds",
	},
	{
		guard: "no lease is extended while the clock is ahead",
		file:  "journal/word.go",
		old:   "	limit := t.j.clock.keeps(leased.Add(t.j.workMax), leased)\n",
		new:   "	limit := leased.Add(t.j.workMax)\n",
		pkg:   inJournal, test: "TestWorkGoesOnThroughAJump",
	},
}
