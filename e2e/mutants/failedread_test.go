package mutants_test

// ofReadsThatFail are the guards against taking what the store cannot read just now for damage.
var ofReadsThatFail = []mutant{
	{
		guard: "an envelope that cannot be read just now is written over",
		file:  "journal/mend.go",
		old:   "	if err == nil && env != nil || err != nil && !isFault(err) {\n",
		new:   "	if err == nil && env != nil {\n",
		pkg:   inJournal, test: "TestReadThatFailsLosesNothing/of_what_cannot_be_worked_on",
	},
	{
		guard: "what cannot be read just now ends in a worse way",
		file:  "journal/quarantine.go",
		old:   "failed == nil || errors.Is(failed, errStore) {\n",
		new:   "failed == nil {\n",
		pkg:   inJournal, test: "TestReadThatFailsLosesNothing/of_what_cannot_be_worked_on",
	},
	{
		guard: "a head is made without an envelope that cannot be read just now",
		file:  "journal/mend.go",
		old:   "	env, err := t.keptEnvelope(id)\n	if err != nil && !isFault(err) {\n",
		new:   "	env, err := t.keptEnvelope(id)\n	if err != nil && false {\n",
		pkg:   inJournal, test: "TestReadThatFailsLosesNothing/of_what_has_lost_its_head",
	},
	{
		guard: "a report of what cannot be read just now ends it",
		file:  "journal/apply.go",
		old:   "errors.Is(why, errGap) || errors.Is(why, errStore) {\n",
		new:   "errors.Is(why, errGap) {\n",
		pkg:   inJournal, test: "TestReadThatFailsLosesNothing/of_what_a_report_is_about",
	},
}
