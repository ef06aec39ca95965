package mutants_test

import (
	"fmt"
	"testing"
)

// The guards around the store, each with mutants that switch it off, or part of it.
var guards = []struct {
	name    string
	is      string
	mutants []string
}{
	{"J1", "one committer, one sync for a batch", []string{"no sync", "a sync of the log that was new at the start", "readers of what is not synced", "each operation waits for a sync of its own", "a batch is as large as all that waits", "a batch's clock for all of its operations", "no dedupe", "operations queue without end", "a stop refuses what waits", "what rides along queues without end", "what takes on more goes before what finishes work", "what no batch has room for is said to be done", "the name of a log is lost with the power"}},
	{"J2", "a commit that fails stops the journal", []string{"no fail-stop", "who waits when a batch fails hears nothing", "who found no room in a batch that failed hears nothing", "a sidecar runs on with a journal that has failed", "a sync that failed is tried again", "a batch that failed is answered as if it were there", "a journal that has failed is read", "a sidecar whose journal has failed is ready", "a sidecar that has failed waits for what is under way", "a journal that has failed is closed as if all were well"}},
	{"J3", "so does what the store only logs", []string{"what the store logs of a failing disk is a warning", "the store logs to nobody", "warnings are not counted"}},
	{"J4", "room on the disk", []string{"a disk that is nearly full takes more", "a disk without room is written to", "a journal is opened on a full disk", "a batch is written without a look at the volume", "a volume that others fill is not looked at", "a volume without inodes is taken for one with room", "what is taken is taken again as soon as there is any room", "what is held is no new work", "a reserve that takes up no room is believed", "a reserve that a kill left half made is one", "a reserve takes the room that it is to save", "a mark that finds no room does without the reserve", "a share of the volume is enough for a compaction", "a log grows unseen between two looks", "what a reserve has taken before there was no more is kept", "a volume that does not say how large it is is full", "a close does without the reserve", "the reserve is used up by a close that has room", "short of inodes any more are enough", "a reserve is made in the file of another", "a reserve is given back twice", "a reserve that could not be made counts as there"}},
	{"J5", "open files", []string{"strangers may take all files", "who has proven who they are makes way for strangers", "connections take the files of the store", "spare files are held to the last", "who was refused a file is given none", "a batch is written though the store might get no file", "calls of apps have no share of the files", "a system that is out of files is not this process", "spare files of which one cannot be opened are never held again", "a system without the number has no files open", "nothing is known of files when all are taken", "a journal that was closed holds spare files"}},
	{"J6", "checksums of records", []string{"no checksum", "the scrub reads no records", "a record is good under any key", "an envelope that is lost here ends what goes on elsewhere", "a part that cannot be read keeps its whole waiting", "an older log is taken for the whole one", "a dead letter without its hand-over is offered again"}},
	{"J7", "the fingerprint of the live set, read again", []string{"no fingerprint check", "as many keys are those that were written", "the scrub does not see that keys are lost", "the scrub forgets what is committed behind it", "indexes are built anew although records are gone", "no scrub comes when the set of tables changes", "no scrub comes while the set of tables stays", "a live set that cannot be read is a short one"}},
	{"J8", "the high-water mark, and older copies", []string{"no high-water mark check", "a lost store starts empty", "an older copy is believed", "a receiver that was put back is believed", "what a receiver says of its reports is not compared", "a mark that is not synced", "the name of the mark is lost with the power", "the mark of another journal is believed", "a store of another history is taken for the one that was marked", "a mark says that all was closed before it is", "the mark stays where it was at the start", "a mark that cannot be written is no matter", "a mark whose sum is wrong is believed", "a mark says that a journal which is open was closed", "the mark of a later program is believed", "the mark of an earlier program is refused"}},
	{"J9", "a look before an open that compacts", []string{"a journal that was killed is opened for use unread", "a store without a mark was closed", "files that the store cannot bear are opened", "a store without its MANIFEST is a new one", "a wrong bit costs its table", "what a damaged block says is deleted comes back", "a damaged log is taken for one that a crash has cut", "a start waits for a compaction that never comes", "a look at a store compacts it", "a start does not wait for all tables to be read", "a table's damage is told of another", "an empty record of MANIFEST is cut by a wrong length", "a record of MANIFEST that a crash has cut is damage", "a checksum of another kind ends the process", "a table of three bytes ends the process", "an error of the system that has a text only is damage", "a volume that is not there is damaged"}},
	{"J10", "a disk that hangs", []string{"a disk that hangs is waited for", "a batch that hangs is not said to be stalled", "a sidecar whose disk hangs is ready", "a stop waits for a reader of a disk that hangs", "a disk that is busy is one that hangs", "a volume that was taken away is written to"}},
	{"J11", "figures from memory", []string{"an overview waits for a disk that hangs", "figures are read from the store", "what waits where is read from the store", "the page of all waits for a disk that hangs", "health waits for a disk that hangs"}},
	{"J12", "short reads", []string{"a page of reads is never full", "what is large does not fill a page", "a list of intents is one read", "what moves between two pages is not held", "all that was left is read at once"}},
	{"J13", "verify", []string{"a journal that is verified changes", "a lost entry of an index is not named", "verify stops at a file that is damaged", "verify does not compare the fingerprint", "verify does not miss batches", "verify decodes no records", "verify counts no events", "verify misses no reports", "verify misses no idempotency keys", "verify does not say that a loss was accepted in part", "verify misses no record that a head names", "verify compares no status with its log", "verify takes what is nowhere for placed", "verify asks for no part that is open", "verify compares no part with its whole", "verify takes a part of nothing for a whole", "verify compares no end with its log", "verify asks history for no end", "verify reads no envelope of a dead letter", "verify reads no envelope of what is held", "verify compares no dead letter with its successor", "verify compares no successor with its dead letter", "verify sees no number given twice", "verify believes a report whatever it says of its number", "verify reads past how far a journal had come"}},
	{"J14", "a copy brought back begins an epoch", []string{"a start that accepts a loss begins no epoch", "a loss that was accepted in part is gone on without", "files are left out before it is said", "records are removed before it is said", "an older copy gives numbers of batches again", "an older copy begins an epoch that there has been", "an older copy gives the numbers of an epoch again that there has been", "an older copy gives numbers of hand-overs again", "a lost table is gone on without unasked", "a key answers for an intent that is lost", "damage beside what may be whole is not said", "a store goes on without its MANIFEST", "what a mark does not know of is a loss", "no loss is accepted without a mark", "unasked a start believes its mark who it is"}},
	{"J15", "one process, whatever the host", []string{"a journal on a shared volume is taken from who has it", "a process goes on with a journal that another has taken", "hosts that do not say which they are are one", "who asks ends with who stops meanwhile", "who has a journal does not say so again", "a stop minds that nobody has the journal"}},
}

// TestGuards: each guard has a mutant that exists, so that a test holds it.
func TestGuards(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for _, m := range all {
		exists[m.guard] = true
	}
	for n, g := range guards {
		if want := fmt.Sprintf("J%d", n+1); g.name != want || len(g.mutants) == 0 {
			t.Errorf("guard %s (%s) is in the place of %s, with %d mutants", g.name, g.is, want, len(g.mutants))
		}
		for _, name := range g.mutants {
			if !exists[name] {
				t.Errorf("guard %s (%s): there is no mutant %q", g.name, g.is, name)
			}
		}
	}
	if len(guards) != 15 {
		t.Errorf("there are %d guards, want 15", len(guards))
	}
}
