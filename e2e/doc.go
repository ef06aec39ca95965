// Package e2e holds Pannier to its promises with real processes: it builds
// the binary a user runs, starts it on loopback, talks to it as apps do, and
// kills it. There is no code here but tests.
//
// # One file, one promise
//
//	deliver_test.go      an intent posted here is handed over there and its result comes
//	                     home, in either start order and through kill -9 of either or both;
//	                     one sidecar alone does the same; the ready line
//	killloop_test.go     nothing acked is lost, nothing is handed over after its end and
//	                     no key makes two intents, over hundreds of SIGKILLs under load,
//	                     and with a home that gives killed holders up all the time
//	skip_test.go         no test is left out in CI for want of something
//	imports_test.go      who may import whom, and what may stand at the top
//	crowd_test.go        the apps of that loop: senders, workers with moods, a reader
//	checker_test.go      what must hold of all they saw; checker_planted_test.go plants
//	                     each violation and wants it found
//	crashwalk_test.go    each line of the crash walk, one death at a time: what happens
//	                     next, and whether the app sees a duplicate
//	torn_test.go         a file created and not yet filled by the death of its writer is no
//	                     reason not to start
//	freeze_test.go       a volume that is frozen is waited for, and what waits is said
//	opening_test.go      an error of the system at a start is said as that, and is no damage; a stop
//	                     is heard while a disk hangs
//	fsync_test.go        after a failed sync nothing is acked, and the process ends; a slow disk is
//	                     only slow
//	files_test.go        neither strangers nor apps and peers that hang take the journal's open files,
//	                     though it compacts meanwhile
//	places_test.go       who keeps a place at a listener whose share is taken, and who hears of it
//	damage_test.go       a record that is wrong on the disk, a file of the store that is gone, a volume
//	                     put back: what that costs, who says so, and how the rest goes on
//	verify_test.go       verify where temporary files have too little room; files that may be gone
//	copies_test.go       two sidecars that run with copies of one journal
//	powercut_test.go     what was acked before a power cut is there after it
//	lost_test.go         a lost holder, a late one, a cancel or a deadline it cannot hear
//	                     of, home killed with offers on the wire, home's volume gone
//	app_test.go          a receiving app that dies, hangs, is poisoned, answers late: what
//	                     counts as an attempt and what does not
//	door_test.go         a sick app is asked one intent at a time, and burns no attempts
//	                     beyond the five that shut the door
//	waits_test.go        who waits for the end of an intent may go away at any moment: it ends as
//	                     it would, and nothing is kept of the wait
//	stream_test.go       the log of hand-overs: numbers, what a lost connection leaves, the end
//	slowreader_test.go   readers of it that do not read, hang up, close half: bounded, nothing skipped
//	quirk_test.go        clients that read the stream as AXP's do miss nothing over a hundred kills
//	webhook_test.go      an app that receives by http: signatures, acks, restarts, kills, stops,
//	                     rotation of its secret
//	rotation_test.go     the published libraries of Standard Webhooks refuse nothing over rotations
//	events_test.go       webhook events reach their subscribers, signed; a callback that fails
//	inbox_test.go        what is sent to people is in their inbox, and what they say reaches home,
//	                     through kills of either; what AXP's suite asks of inboxes
//	people_test.go       tasks, gates and reminders outlive kills
//	office_test.go       of all that people are asked, decide and are reminded of nothing is lost or
//	                     doubled while their sidecars and those who ask are killed; office_checker_test.go
//	                     and office_planted_test.go are to it what those of the checker are
//	notify_test.go       people told by webhook, chat and mail, over kills and servers that are away
//	scenario_test.go     scenarios of agents and people at two sidecars run to their end, whenever
//	                     their home is killed
//	completion_test.go   the end of an intent comes to whom it asks to be told
//	verdict_test.go      an end that is given at the holder, and home
//	options_test.go      each option of a send has its effect
//	policy_test.go       limits changed while an intent is under way
//	swap_test.go         stream, webhook and poll take turns while intents flow
//	answers_test.go      answers without a lease, at either sidecar; a sender's word, an
//	                     operator's; a delay; where events can be read
//	traces_test.go       one trace from app to app, over kills of both sidecars; and without
//	                     a collector
//	dlq_test.go          dead letters at both ends, redriven from either over crashes; many
//	                     at a rate; a purge that asks first
//	durability_test.go   "receiver" means a second journal has it; an ephemeral volume is said
//	fulldisk_test.go     what waits for a receiver whose disk is full says so; a full disk at home
//	                     holds up nothing that was accepted
//	backlog_test.go      memory does not follow the backlog, and waiting writes nothing;
//	                     bodies_test.go: nor the number of large bodies that come, or are asked
//	                     for, at once
//	idempotency_test.go  one key, one intent: at once, over a crash, after the end
//	input_test.go        bad input is refused by name and changes nothing; bad
//	                     configuration is exit 2
//	socket_test.go       requests as no client library writes them: smuggled, doubled, escaped,
//	                     endless; each decides like its plain form or is refused, unwritten
//	keys_test.go         no key is in an answer, a log or a journal; keys made while running,
//	                     and kills of agents, survive kills of sidecars
//	stop_test.go         the order of a stop: what is leased finishes, what is not goes
//	                     elsewhere, no post is acked and lost
//	drain_test.go        the journals of replicas that are gone for good are emptied without an app
//	mesh_test.go         a control plane and sidecars that know of one another by it alone; a new
//	                     replica is at work at once
//	partition_test.go    the same with a host each: any of them killed or unplugged, any two apart,
//	                     in one direction or both
//	discovery_test.go    a control plane stopped, half open, back with something else, with nothing, or
//	                     not ready; the first of two gone
//	rollout_test.go      draining and readiness reach home at once; a rolling restart of a receiver
//	                     under load fails nothing
//	pod_test.go          in pods of a cluster, with the processes and not the engine: started before its
//	                     app and stopped after it, whose last words count
//	image_test.go        what is in the image, and that it is the same each time
//	inject_test.go       what a webhook puts into a pod is what a sidecar takes
//	cluster_test.go      a control plane beside an API server; the sizes of the programs
//	install_test.go      what helm renders of the charts, in such pods: the README's commands from an
//	                     empty cluster to the first intent
//	statefulset_test.go  its replicas replaced one by one, scaled down and up, under load
//	kubelet/             what runs those pods as a node does, and the app in them
//	traffic_test.go      what the control plane says about traffic: pauses, shares
//	mesh_identity_test.go  certificates and keys in the mesh
//	lastgood_test.go     killed before each call that writes what the control plane said: a start
//	                     without one knows the old or the new, whole
//	peers_test.go        the peers file edited, broken and mended; rewritten while intents flow
//	spellings_test.go    however an address is written, nobody gets what is for another
//	identity_test.go     sidecars prove who they are: strangers are told why not, rotations lose
//	                     nothing, bad files change nothing, a session said again brings nothing,
//	                     plain text beyond loopback is exit 2
//	dev_test.go          `pannier dev`: two sidecars, at once, in few words
//	pages_test.go        the pages in a real browser, with its scripts and without: decisions, forms, looks
//	approval_test.go     two people approve in it what one curl has sent; picture_test.go keeps what
//	                     they see for the README
//	login_test.go        people who are not operators, in it: log-in, their tasks, nothing else
//	operators_test.go    operators, in it: what needs attention, dead letters
//	cli_test.go          the verbs of the command line and their exit codes
//	transcripts_test.go  what each verb prints and how it ends, as transcripts/ shows it
//	readme_test.go       the README's transcript, replayed
//	axp_test.go          what AXP's clients take for granted; its published schemas
//	scope_test.go        each family of AXP that is served, against a sidecar; what is out of scope
//	rows_test.go         the faults around a journal, and the tests that make each
//	checklist_test.go    what is easy to get wrong about AXP, and the test of each line
//	examples_test.go     the programs of examples/, in four languages, do what they show
//	interop_test.go      xDS clients of other languages resolve an agent at our control plane
//	bench_test.go        what "pannier bench" counts adds up; killed, it leaves nobody running
//	figures_test.go      rates and latencies of this machine, judged by nobody
//	mutants/             each guard switched off once: some test must go red
//	tools/               the charts, rendered and judged, in a module of its own
//
// The harness is sidecar_test.go (a process and its restarts), client_test.go
// (the app API), trio_test.go (two holders behind wires that can be cut),
// plane_test.go (a control plane), netns_test.go (hosts on a switch, with one keyring),
// apiserver_test.go (an API server for pods: kubetest, and what controllers write there),
// console_test.go (a terminal whose words are kept) and main_test.go (the
// build). Each exchange of the app API is held to openapi.yaml and, where they
// are at hand (AXP_SPEC), to AXP's published schemas, whatever the test looks
// at. [eventually] is the one loop of tests that waits, beside that of a script,
// and no test fails for being slow.
//
// # Faults, and the command for each
//
//	SIGKILL at random              go test ./e2e -run TestKillLoop -v
//	  a shorter run, the same one    E2E_KILLS=60 E2E_SEED=1 go test ./e2e -run TestKillLoop -v
//	SIGKILL over tasks, timers, decisions  E2E_KILLS=150 go test ./e2e -run TestKillLoopOverPeople -v
//	SIGKILL at a named line        go test ./e2e -run TestCrashWalk -v
//	SIGKILL at each stage          go test ./e2e -run TestSurvivesKill -v
//	--accept-loss killed, or without room  go test ./journal -run 'AcceptLossKilled|AcceptLossWithoutRoom' -v  (root, strace)
//	fdatasync or fsync fails       go test ./e2e -run TestSyncError -v            (root, strace)
//	syncs that take half a second  go test ./e2e -run TestSlowDisk -v             (root, strace)
//	a disk that hangs              go test ./journal ./proxy ./e2e -run 'HungDisk$|OfADiskThatHangs|HungDiskEnds' -v
//	  a volume frozen for a snapshot  go test ./e2e -run TestFrozenVolume -v  (root, fsfreeze)
//	  what operators see meanwhile   go test ./e2e -run TestFiguresOfAHungDisk -v   (root, strace)
//	  and a stop on it               go test ./e2e -run 'TestStopOnADiskThatHangs|WhileAHungDisk' -v  (root, strace)
//	no page, block or inode left   go test ./journal -run 'FullDisk|SpaceGuard' -v  (root)
//	  and what is said of it         go test ./e2e -run FullDisk -v   (root)
//	wrong bits in files            go test ./journal -run TestFlips -v -flip.n 1200 -flip.seed 77
//	  the loss accepted            … -flip.n 400 -flip.seed 9 -flip.loss: of 251 refused 151 opened, all whole
//	a record wrong on the disk, a table gone  go test ./e2e -run 'TestDamagedRecord|TestLostTable' -v
//	what is gone is gone on without  go test ./journal -run 'AcceptLoss|OlderCopy|KeyOfALost' -v
//	a volume put back from a snapshot  go test ./e2e -run TestOlderCopy -v
//	two copies of a volume at once  go test ./e2e -run TestTwoLiveCopies -v
//	a compaction loses a table     go test ./journal -run 'Scrub|LostRecord' -v
//	a wall clock that jumps        go test ./journal -run 'Jump|Clock|Downtime|LeaseLasts' -v
//	20,000 connections, 512 files  go test ./e2e -run TestStrangersTakeNoFiles -v
//	files taken from inside, hardly any left  go test ./e2e -run TestFilesTakenFromInside -v
//	  all of them, at once           go test ./journal -run 'AllFiles|BatchWaits|MoreTables' -v
//	traffic for long, disk bounded JOURNAL_SOAK=10m go test ./journal -run TestSoak -v
//	  last, quiet, 9m30s, 800/s of 32 KiB  228 MiB of disk at most, of a history of 16 to 113; no trend in disk
//	                                 (64–145 MiB), files, goroutines, RssAnon (170–275 MiB, without a limit on memory)
//	people's sidecars killed       E2E_KILLS=150 go test ./e2e -run TestKillLoopOverPeople -v
//	power cut, ext4 and xfs        E2E_ROUNDS=50 go test ./e2e -run TestPowerCut -v  (root)
//	holder lost, late, cut off     go test ./e2e -run 'Lost|Late|CutOff|Forget|Deadline' -v
//	holder stopped (SIGSTOP)       go test ./e2e -run TestStoppedHolder -v
//	a file torn by a kill          go test ./e2e -run 'TestFileCreated|TestKilledAtItsFirstStart' -v
//	home killed, holder not there  go test ./e2e -run 'TestHomeKilled|TestHomeGone' -v
//	100,000 intents, nobody there, 96 MiB  go test ./e2e -run TestBacklogMemory -v  (root)
//	  a million                      E2E_BACKLOG=1000000 go test ./e2e -run TestBacklogMemory -v -timeout 1h
//	  last, quiet                    RssAnon 17.2 MiB at rest, 65.3 before; ready 1.9 s after kill -9, 1.5 s after a stop
//	64 bodies of a MiB at once, 128 MiB  go test ./e2e -run TestLargeBodiesAtOnce -v  (root)
//	150 who do not read them, 128 MiB  go test ./e2e -run TestSlowReadersOfLargeIntents -v  (root)
//	apps that misbehave            go test ./e2e -run 'App|Poison|Nack|Extend|WorkTimeout|NobodyReads|Door' -v
//	clients gone while they wait   E2E_SEED=1 go test ./e2e -run TestWaitersAreGone -v
//	requests that are no requests  go test ./e2e -run 'RawRequests|EndlessBodies|HTTP2' -v
//	hosts killed, unplugged, apart go test ./e2e -run 'AcrossHosts|Partitions' -v  (root, ip, nft)
//	pods started, stopped, replaced  go test ./e2e -run 'Pod|InACluster' -v        (root, ip, nft)
//	control plane stopped, mute, empty  go test ./e2e -run ControlPlane -v  (one needs root)
//	SIGKILL at each write of the last known good  go test ./e2e -run TestKilledWhile -v  (root, strace)
//	addresses that look alike      E2E_SEED=1 go test ./e2e -run TestSpellings -v
//	peers file broken              go test ./e2e -run Peers -v
//	certificates, keys: wrong, rotated  go test ./e2e ./proxy/identity -run 'MutualTLS|Rotat|Stranger|WrongKey|Bad' -v
//	a peer's words replayed        go test ./e2e ./proxy/identity -run Replay -v
//	SIGTERM under load             go test ./e2e -run 'Stop|SecondSignal' -v
//	a guard switched off           go test ./e2e/mutants -v
//
// go test caches results without knowing of the binary: -count=1 runs again.
// With CI=true a test that lacks root or a tool fails; elsewhere it is
// skipped, in one line. Lines that begin "figure:" are what the run measured.
//
// # What is not proved here
//
// A lossy or slow network; clock jumps of real processes: the journal alone is tested with
// them.
package e2e
