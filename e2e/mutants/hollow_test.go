package mutants_test

// Dead letters that have lost what was sent.
var ofHollow = []mutant{
	{
		guard: "a dead letter that has lost what was sent is damaged for ever",
		file:  "journal/salvage.go",
		old:   "\t\t\ts.hollow[id] = true\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfWhatADeadLetterWasSent/it_is_gone",
	},
	{
		guard: "what is no dead letter is said to be one",
		file:  "journal/hollow.go",
		old:   "return h.DeadMs != 0 && ",
		new:   "return h.Place == uint32(PlaceEnded) && ",
		pkg:   inJournal, test: "TestAcceptLossOfWhatSomethingDoneWasSent",
	},
	{
		guard: "nobody is told which dead letter has lost what was sent",
		file:  "journal/hollow.go",
		old:   "\tif _, err := t.setAside(id); err != nil {\n\t\treturn err\n\t}\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfWhatADeadLetterWasSent/it_is_gone",
	},
	{
		guard: "a dead letter is to nobody",
		file:  "journal/hollow.go",
		old:   "viewAlone(j.db, j.names.load); err",
		new:   "j.Err(); err",
		pkg:   inJournal, test: "TestAcceptLossOfWhatADeadLetterWasSent/it_is_gone",
	},
	{
		guard: "a redrive that has lost what was sent is a contradiction for ever",
		file:  "journal/verifylive.go",
		old:   " || v.isAside(as) {\n",
		new:   " {\n",
		pkg:   inJournal, test: "TestAcceptLossOfWhatADeadLetterWasSent/it_is_gone",
	},
	{
		guard: "an address that cannot be read hides those behind it",
		file:  "journal/salvage.go",
		old:   "\tif s.mendNames(damages) {\n",
		new:   "\tif s.mendNames(damages) && false {\n",
		pkg:   inJournal, test: "TestAcceptLossOfWhatADeadLetterWasSent/and_a_bit_of_another's_address",
	},
	{
		guard: "an address that cannot be read is in the way of the one that is put back",
		file:  "journal/salvagename.go",
		old:   "\t\tcase d.Kind == DamagedRecord && d.Key[0] == className:\n",
		new:   "\t\tcase false:\n",
		pkg:   inJournal, test: "TestAcceptLossOfWhatADeadLetterWasSent/and_a_bit_of_its_address",
	},
	{
		guard: "the history takes what is gone",
		file:  "journal/salvage.go",
		old:   "\t\tif j.history.total.bytes, err = historyOf(txn); err != nil {\n\t\t\treturn err\n\t\t}\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfRecords/a_head",
	},
	{
		guard: "what is held for another home takes room in the history before it has ended",
		file:  "journal/history.go",
		old:   "\t\tif h.RetainMs != 0 { // else",
		new:   "\t\tif true { // else",
		pkg:   inJournal, test: "TestAcceptLossOfTies",
	},
}
