package mutants_test

// What a start that accepts a loss does where it finds no room, or no file.
var ofTheLossWithoutRoom = []mutant{
	{
		guard: "an empty directory is left where a file could not be kept",
		file:  "journal/leaveout.go",
		old:   "return errors.Join(err, os.Remove(dir)) //",
		new:   "return err //",
		pkg:   inJournal, test: "TestAcceptLossWithoutRoom/files",
	},
	{
		guard: "what was merged stays where MANIFEST could not be kept",
		file:  "journal/leaveout.go",
		old:   "b.name, err), sweepAnew(store))",
		new:   "b.name, err))",
		pkg:   inJournal, test: "TestAcceptLossWithoutRoom/files",
	},
	{
		guard: "what was merged stays where the rest had no room",
		file:  "journal/manifestanew.go",
		old:   "tableExt), err), sweepAnew(store))",
		new:   "tableExt), err))",
		pkg:   inJournal, test: "TestAcceptLossWithoutRoom/files",
	},
	{
		guard: "what is written half takes up room",
		file:  "journal/mendtable.go",
		old:   "		return errors.Join(err, os.Remove(path))\n",
		new:   "		return err\n",
		pkg:   inJournal, test: "TestAcceptLossWithoutRoom/bytes",
	},
	{
		guard: "a start without room for what it makes anew does not say what to do",
		file:  "journal/loss.go",
		old:   "	if !j.loss.asked || !saysOne(",
		new:   "	if !j.loss.asked || saysOne(",
		pkg:   inJournal, test: "TestAcceptLossWithoutRoom/bytes",
	},
	{
		guard: "a start without room for who has the journal does not say what to do",
		file:  "journal/open.go",
		old:   "		return nil, j.lackedRoom(startError(o.Dir, err))\n",
		new:   "		return nil, err\n",
		pkg:   inJournal, test: "TestAcceptLossWithoutRoom/files",
	},
	{
		guard: "a store is closed on a volume that has refused a file",
		file:  "journal/space.go",
		old:   "	if !saysOne(why, noRoomLeft) && j",
		new:   "	if j",
		pkg:   inJournal, test: "TestStartIsGivenUpWithoutRoom/a_file_is_refused",
	},
	{
		guard: "a store is closed that has no room for its tables",
		file:  "journal/space.go",
		old:   "noRoomLeft) && j.space.holds(j.store) == nil {",
		new:   "noRoomLeft) {",
		pkg:   inJournal, test: "TestStartIsGivenUpWithoutRoom/little_is_left",
	},
	{
		guard: "a reserve is kept from what is made anew",
		file:  "journal/loss.go",
		old:   "		j.space.forAnew(j.store)\n		j.loss.leave(bad)\n",
		new:   "\t\tj.loss.leave(bad)\n",
		pkg:   inJournal, test: "TestReserveIsForWhatIsMadeAnew",
	},
	{
		guard: "a damaged table is moved away before there is one in its place",
		file:  "journal/mendtable.go",
		old:   "return os.Link(path, to) })",
		new:   "return os.Rename(path, to) })",
		pkg:   inJournal, test: "TestAcceptLossKilledAtEachName",
	},
}
