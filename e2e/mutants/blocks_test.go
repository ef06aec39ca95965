package mutants_test

// What is found of a table that has lost its index.
var ofBlocks = []mutant{
	{
		guard: "a table is lost with its index",
		file:  "journal/mendtable.go",
		old:   "\t\tall = entriesWithoutIndex(f, info.Size())\n",
		new:   "\t\treturn m, errTableLost\n",
		pkg:   inJournal, test: "TestTableWithoutItsIndex/a_bit_of_the_index",
	},
	{
		guard: "a key is believed that nothing vouches for",
		file:  "journal/mendtable.go",
		old:   "\tcase t.unindexed:\n",
		new:   "\tcase t.unindexed && false:\n",
		pkg:   inJournal, test: "TestTableWithoutItsIndex/and_a_record",
	},
	{
		guard: "without the index no version is believed but those that two have",
		file:  "journal/mendtable.go",
		old:   "\t\t\tif t.unindexed && whole {\n",
		new:   "\t\t\tif t.unindexed && whole && false {\n",
		pkg:   inJournal, test: "TestTableWithoutItsIndex/a_bit_of_the_index",
	},
	{
		guard: "without the index any version of a damaged block is believed",
		file:  "journal/mendtable.go",
		old:   "\t\t\tif t.unindexed && whole {\n",
		new:   "\t\t\tif t.unindexed {\n",
		pkg:   inJournal, test: "TestTableWithoutItsIndex/and_a_version_that_is_yet_to_come",
	},
	{
		guard: "a version is believed that no other entry has",
		file:  "journal/tableblocks.go",
		old:   "e.sure && seen[v] {",
		new:   "e.sure {",
		pkg:   inJournal, test: "TestNewestShared",
	},
	{
		guard: "a version is believed that nothing is sure of",
		file:  "journal/tableblocks.go",
		old:   "\t\t} else if e.sure {\n",
		new:   "\t\t} else {\n",
		pkg:   inJournal, test: "TestNewestShared",
	},
	{
		guard: "what looks like a block in another is taken for one",
		file:  "journal/tableblocks.go",
		old:   "\tfor _, end := range ends {\n\t\tif isWhole(b[from:end]) {\n",
		new:   "\tfor _, end := range ends[:min(1, len(ends))] {\n\t\tif isWhole(b[from:end]) {\n",
		pkg:   inJournal, test: "TestCutBlocks",
	},
	{
		guard: "the block behind a damaged one is not found",
		file:  "journal/tableblocks.go",
		old:   "\t\tfor next := nextWhole(b, from, ends); from < next; {",
		new:   "\t\tfor next := len(b); from < next; {",
		pkg:   inJournal, test: "TestCutBlocks",
	},
	{
		guard: "damaged blocks are taken for one",
		file:  "journal/tableblocks.go",
		old:   "\t\t\t\tcut(min(ends[0], next))\n",
		new:   "\t\t\t\tcut(next)\n",
		pkg:   inJournal, test: "TestCutBlocks",
	},
	{
		guard: "a table is lost with what the disk refuses of it",
		file:  "journal/tableblocks.go",
		old:   "at += sector {",
		new:   "at += len(b) {",
		pkg:   inJournal, test: "TestTableWithoutItsIndexThatTheDiskRefuses",
	},
}
