package mutants_test

// Guards of what is there in part: a body, the numbers of reports.
var ofHalves = []mutant{
	{
		guard: "a copy of a dead letter of which nothing is left",
		file:  "journal/dead.go",
		old:   "	case env == nil:\n		return nil\n	}\n	h.rec.DeadReason",
		new:   "	case env == nil && false:\n		return nil\n	}\n	h.rec.DeadReason",
		pkg:   inJournal, test: "TestNoCopyOfWhatIsGone",
	},
	{
		guard: "a holder that cannot read what was sent does not hear of the end",
		file:  "journal/dead.go",
		old:   "	env, err := t.keptEnvelope(h.id)\n	switch {\n	case err != nil && !isFault(err):",
		new:   "	env, err := t.keptEnvelope(h.id)\n	switch {\n	case err != nil:",
		pkg:   inJournal, test: "TestNoCopyOfWhatIsGone",
	},
}
