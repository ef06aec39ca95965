package mutants_test

// Who has a place at a listener, and who makes way; and how a sidecar ends.
var ofTheDoors = []mutant{
	{
		guard: "strangers keep out peers that prove who they are",
		file:  "proxy/serve.go",
		old:   "	if !r.identified() {\n		hold = crowd.Listen\n",
		new:   "	if true {\n		hold = crowd.Listen\n",
		pkg:   inE2E, test: "TestStrangersMakeWay",
	},
	{
		guard: "peers in plain text make way for strangers",
		file:  "proxy/serve.go",
		old:   "		hold = crowd.Listen\n",
		new:   "		_ = crowd.Listen\n",
		pkg:   inE2E, test: "TestStrangersMakeWay",
	},
	{
		guard: "strangers keep out operators",
		file:  "proxy/serve.go",
		old:   "r.opts.Admin, share.operators, crowd.ListenForProof,",
		new:   "r.opts.Admin, share.operators, crowd.Listen,",
		pkg:   inE2E, test: "TestStrangersMakeWay",
	},
	{
		guard: "strangers keep out people",
		file:  "proxy/serve.go",
		old:   "r.opts.People.People, share.operators, crowd.ListenForProof,",
		new:   "r.opts.People.People, share.operators, crowd.Listen,",
		pkg:   inE2E, test: "TestStrangersMakeWay",
	},
	{
		guard: "apps make way for strangers",
		file:  "proxy/serve.go",
		old:   "r.opts.API, share.api, crowd.Listen,",
		new:   "r.opts.API, share.api, crowd.ListenForProof,",
		pkg:   inE2E, test: "TestStrangersMakeWay",
	},
	{
		guard: "a sidecar that fails while it closes ends as if all were well",
		file:  "proxy/stop.go",
		old:   "	if cause == nil && alive.Err() != nil {\n",
		new:   "	if cause == nil && false {\n",
		pkg:   inProxy, test: "TestFailureWhileClosing",
	},
	{
		guard: "a stop waits for the kernel to close the watch of a file",
		file:  "proxy/watch/file.go",
		old:   "func() { go w.Close() }\n",
		new:   "func() { w.Close() }\n",
		pkg:   inE2E, test: "TestStopWhileTheKernelIsSlow",
	},
}
