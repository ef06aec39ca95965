package mutants_test

// ofTheRoom are the guards against what the store writes by itself.
var ofTheRoom = []mutant{
	{
		guard: "a small volume is filled until the store dies of it",
		file:  "journal/space.go",
		old:   "	l := s.asked.limits(total)\n",
		new:   "	l := s.asked.limits(total)\n	if true {\n		return l\n	}\n",
		pkg:   inJournal, test: "TestSmallVolume/filled",
	},
	{
		guard: "a share of the volume is enough for a compaction",
		file:  "journal/space.go",
		old:   "	l.out.bytes = max(l.out.bytes, s.growth.now.Load())\n",
		new:   "",
		pkg:   inJournal, test: "TestRoomForACompaction",
	},
	{
		guard: "a compaction of level 0 takes no room",
		file:  "journal/growth.go",
		old:   "		now = top.Size + base\n",
		new:   "",
		pkg:   inJournal, test: "TestRoomForACompaction",
	},
	{
		guard: "what a compaction has made is still to be made",
		file:  "journal/growth.go",
		old:   "		g.now.Store(log + max(0, now-max(0, made)))\n",
		new:   "		g.now.Store(log + max(0, now-min(0, made)))\n",
		pkg:   inJournal, test: "TestRoomForACompaction",
	},
	{
		guard: "new work takes the room of what is under way",
		file:  "journal/space.go",
		old:   "; soon > l.low.bytes {\n",
		new:   "; soon < 0 {\n",
		pkg:   inJournal, test: "TestRoomForACompaction",
	},
	{
		guard: "a journal is opened that has no room for the compaction it begins with",
		file:  "journal/open.go",
		old:   "	if err := j.space.opened(j.dir, db); err != nil {\n",
		new:   "	if err := j.space.opened(j.dir, db); err != nil && false {\n",
		pkg:   inJournal, test: "TestSmallVolume/opened",
	},
	{
		guard: "a log grows unseen between two looks",
		file:  "journal/commit.go",
		old:   "	j.space.growth.committed(t.batch.bytes)\n",
		new:   "",
		pkg:   inJournal, test: "TestRoomForTheLog",
	},
	{
		guard: "the room of a log's table is looked at by who writes alone",
		file:  "journal/space.go",
		old:   "		j.space.growth.look()\n",
		new:   "",
		pkg:   inJournal, test: "TestRoomForTheLog",
	},
	{
		guard: "what a reserve has taken before there was no more is kept",
		file:  "journal/ballast.go",
		old:   "		return errors.Join(err, b.remove())\n",
		new:   "		return err\n",
		pkg:   inJournal, test: "TestBallastThatFindsNoRoom",
	},
	{
		guard: "a store that is compacted is waited for, however large",
		file:  "journal/compact.go",
		old:   " || j.Size() > g.most {\n",
		new:   " {\n",
		pkg:   inJournal, test: "TestCompactsWhatIsDeleted",
	},

	// What waits for a batch, and for the disk.
	{
		guard: "operations queue without end",
		file:  "journal/queue.go",
		old:   "		q.ops[i] = make(chan *op, queueLength)\n",
		new:   "		q.ops[i] = make(chan *op, 2*queueLength)\n",
		pkg:   inJournal, test: "TestQueuesAreBounded",
	},
	{
		guard: "what rides along queues without end",
		file:  "journal/queue.go",
		old:   "	q.lazy = make(chan *op, lazyLimit)\n",
		new:   "	q.lazy = make(chan *op, 2*lazyLimit)\n",
		pkg:   inJournal, test: "TestQueuesAreBounded",
	},
	{
		guard: "a sidecar that has failed waits for what is under way",
		file:  "proxy/stop.go",
		old:   "		ctx, cancel = context.WithTimeout(ctx, failFast)\n",
		new:   "		ctx, cancel = context.WithTimeout(ctx, 100*failFast)\n",
		pkg:   inProxy, test: "TestFailedSidecarEndsWithinASecond",
	},
	{
		guard: "the name of the mark is lost with the power",
		file:  "journal/hwm.go",
		old:   "	if err == nil {\n		err = syncDir(dir)\n	}\n",
		new:   "",
		pkg:   inJournal, test: "TestNamesAreSynced",
	},
	{
		guard: "the name of a log is lost with the power",
		file:  "journal/wal.go",
		old:   ", syncDir(w.dir))\n",
		new:   ")\n",
		pkg:   inJournal, test: "TestNamesAreSynced",
	},
}
