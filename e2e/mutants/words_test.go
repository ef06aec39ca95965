package mutants_test

// ofTheWords are guards of what an operator is told, who would act at the wrong place without.
var ofTheWords = []mutant{
	{
		guard: "a home is not told whose journal was put back",
		file:  "inbound/oldcopy.go",
		old:   "			refused = with //",
		new:   "			_ = with //",
		pkg:   inInbound, test: "TestOlderCopyOfAHomeIsToldSo",
	},
	{
		guard: "a home with a new epoch stays an older copy",
		file:  "inbound/oldcopy.go",
		old:   "		delete(s.mu.oldCopies, home)\n",
		new:   "",
		pkg:   inInbound, test: "TestOlderCopyOfAHomeIsToldSo",
	},
	{
		guard: "an own journal that was put back is said to be the peer's",
		file:  "outbound/oldcopy.go",
		old:   "l.oldCopy.Journal == l.d.self.Identity.Journal {\n",
		new:   "false {\n",
		pkg:   inOutbound, test: "TestOlderCopyIsNamed",
	},
	{
		guard: "a holder does not learn that its journal was put back",
		file:  "outbound/lost.go",
		old:   "			s.link.copyOf = s.peer //",
		new:   "			_ = s.peer //",
		pkg:   inE2E, test: "TestOlderCopyOfAReceiver",
	},
	{
		guard: "why does not say that the clock holds what is over time",
		file:  "proxy/api/why.go",
		old:   "clock.Paused {\n",
		new:   "clock.Paused && false {\n",
		pkg:   inAPI, test: "TestWhyOfATimeThatThePausedClockHolds",
	},
	{
		guard: "why blames the clock for what has time left",
		file:  "proxy/api/why.go",
		old:   "limit.IsZero() || limit.After(acc.asOf) {\n",
		new:   "limit.IsZero() {\n",
		pkg:   inAPI, test: "TestWhyOfATimeThatThePausedClockHolds",
	},
	{
		guard: "a holder that another journal answers for is not shown",
		file:  "outbound/status.go",
		old:   " && !shown[h.id.String()] {\n",
		new:   " && d.mu.links[h.address] == nil {\n",
		pkg:   inOutbound, test: "TestReplacedHolderIsShownUntilItIsGivenUp",
	},
	{
		guard: "a peer that says nothing is not out of reach",
		file:  "outbound/link.go",
		old:   "		l.outSince = now\n",
		new:   "",
		pkg:   inOutbound, test: "TestOutSinceItIsWanted",
	},
	{
		guard: "why of what has failed does not name the error",
		file:  "proxy/api/why.go",
		old:   "		d.Said = failure.Message\n",
		new:   "",
		pkg:   inAPI, test: "TestWhy",
	},
	{
		guard: "a directory that is another's is taken without a word",
		file:  "proxy/journal.go",
		old:   "		r.warnOfStrangers()\n",
		new:   "",
		pkg:   inE2E, test: "TestDirectoryOfOthers",
	},
}
