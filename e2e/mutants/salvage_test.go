package mutants_test

// What a start that accepts a loss leaves behind.
var ofSalvage = []mutant{
	{
		guard: "an end that is still placed is counted for ever",
		file:  "journal/salvage.go",
		old:   "		h.Place, h.ExpiryMs = uint32(PlaceEnded), 0\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfTies/an_end_that_is_placed",
	},
	{
		guard: "a policy that is lost is waited for",
		file:  "journal/salvage.go",
		old:   "		h.PolicyGeneration = 0\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfTies/a_policy_of_one_that_has_ended",
	},
	{
		guard: "a hand-over that is lost refuses the start",
		file:  "journal/salvage.go",
		old:   "	case d.Kind == DamagedRecord && d.Key[0] == classHandover && (",
		new:   "	case d.Kind == DamagedRecord && false && (",
		pkg:   inJournal, test: "TestAcceptLossOfTies/a_bit_of_a_hand-over_of_one_that_is_open",
	},
	{
		guard: "a hand-over is lost with its thread",
		file:  "journal/salvage.go",
		old:   "	h.Threaded = false\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfTies/a_thread_of_a_hand-over",
	},
	{
		guard: "a thread of nobody stays",
		file:  "journal/salvage.go",
		old:   "		if owner != 0 && !s.named[owner] {\n",
		new:   "		if owner != 0 && false {\n",
		pkg:   inJournal, test: "TestAcceptLossOfTies/a_thread_of_nobody",
	},
	{
		guard: "an address that is lost takes what is held for another home along",
		file:  "journal/salvage.go",
		old:   "		n.No = hand.Agent\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfTies/the_address_of_a_hand-over",
	},
	{
		guard: "a successor that is gone forbids another",
		file:  "journal/salvage.go",
		old:   "		h.RedrivenAs = nil\n",
		new:   "",
		pkg:   inJournal, test: "TestAcceptLossOfTies/a_successor",
	},
	{
		guard: "a dead letter forgets a successor that stays",
		file:  "journal/salvage.go",
		old:   " && !s.standsIn(next) {\n",
		new:   " {\n",
		pkg:   inJournal, test: "TestAcceptLossOfTies/the_head_of_a_successor",
	},
	{
		guard: "a dead letter forgets a successor that was purged",
		file:  "journal/salvage.go",
		old:   " && !s.has(idKey(classPurged, next)) && ",
		new:   " && ",
		pkg:   inJournal, test: "TestAcceptLossOfTies/a_policy_of_one_whose_successor_was_purged",
	},
	{
		guard: "a dead letter with another head is redriven twice",
		file:  "journal/standin.go",
		old:   "	l.head.RedrivenAs = next[:]\n",
		new:   "	_ = next\n",
		pkg:   inJournal, test: "TestAcceptLossOfTies/the_head_of_a_dead_letter",
	},
	{
		guard: "a dead letter of another home becomes one's own",
		file:  "journal/standin.go",
		old:   "	case !s.hasEnvelope(id), s.isCopy(id, e, keys):\n",
		new:   "	case !s.hasEnvelope(id):\n",
		pkg:   inJournal, test: "TestAcceptLossOfTies/the_hand-over_of_a_dead_letter_of_another",
	},
	{
		guard: "a log that is written anew does not say how it ended",
		file:  "journal/standin.go",
		old:   "			e.Type = uint32(row.Event)\n",
		new:   "			_ = e\n",
		pkg:   inJournal, test: "TestAcceptLossOfTies/the_log_of_one_that_has_ended",
	},
}
