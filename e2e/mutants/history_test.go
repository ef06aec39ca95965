package mutants_test

// What the history lets go, and what it must not.
var ofHistory = []mutant{
	{
		guard: "what a holder keeps for a day it keeps until the next start",
		file:  "journal/letgo.go",
		old:   "	case what == forRoom && (unheard || young && h.rec.BodyGone):\n",
		new:   "	case what == forRoom && unheard, young && h.rec.BodyGone:\n",
		pkg:   inJournal, test: "TestHistoryOfAHolderThatKeepsLittle",
	},
	{
		guard: "what has to stay keeps what may go from being let go",
		file:  "journal/letgo.go",
		old:   "		again := !s.passing && now",
		new:   "		again := now",
		pkg:   inJournal, test: "TestRoomBehindWhatStays",
	},
	{
		guard: "of a history a slice is let go each minute",
		file:  "journal/letgo.go",
		old:   "		case n == historySlice && !s.passing:\n",
		new:   "		case n == historySlice && false:\n",
		pkg:   inJournal, test: "TestHistoryOfABusyHour",
	},
	{
		guard: "webhook events are kept for ever",
		file:  "journal/letgo.go",
		old:   "		err = s.notices(now, room, add)\n",
		new:   "		_ = s.notices\n",
		pkg:   inJournal, test: "TestNoticesGoWithTheirDeliveries",
	},
	{
		guard: "webhook events behind those that stay are kept for ever",
		file:  "journal/letgo.go",
		old:   "				end = false\n",
		new:   "",
		pkg:   inJournal, test: "TestNoticesGoWithTheirDeliveries",
	},
	{
		guard: "a webhook event goes before its deliveries",
		file:  "journal/letgo.go",
		old:   "err != nil || left {\n",
		new:   "err != nil || left && false {\n",
		pkg:   inJournal, test: "TestNoticesGoWithTheirDeliveries",
	},
	{
		guard: "a webhook event of nothing goes at once",
		file:  "journal/letgo.go",
		old:   "			if ms(s.notice.Time()) > until {\n",
		new:   "			if until < 0 {\n",
		pkg:   inJournal, test: "TestNoticesGoWithTheirDeliveries",
	},
}
