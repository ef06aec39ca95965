package journal_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// many is more of anything than a page reads.
const many = journal.PageReads + 500

// large intents are more bytes than a page reads, and fewer keys.
const large = 500

// crowd is a journal that has many of all that there can be many of.
type crowd struct {
	*world
	home, holder journal.Identity // of what is held here, and where what is ours is held
	ours         int              // intents that are home's
	due          []journal.ID     // of these half are on record at the holder
}

// atOnce calls f so many times, of which the committer makes few batches.
func atOnce(n int, f func(i int) error) error {
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range n {
		group.Go(func() {
			if err := f(i); err != nil {
				failed.Store(&err)
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *world) acceptMany(n int, body string) (ids []journal.ID) {
	w.Helper()
	for some := range slices.Chunk(make([]journal.Accept, n), 500) {
		for i := range some {
			some[i].Envelope = envelope()
			some[i].Envelope.Payload = fmt.Appendf(nil, "%q", body)
		}
		got, err := w.j.Accept(w.Context(), some)
		if err != nil {
			w.Fatal(err)
		}
		for _, a := range got {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// holdMany puts intents of a home into the mailbox, leased where a lease is given.
func (w *world) holdMany(home journal.Identity, n int, lease time.Duration) (held []journal.HoldResult) {
	w.Helper()
	for some := range slices.Chunk(make([]journal.HoldRequest, n), 500) {
		for i := range some {
			e, id := envelope(), journal.NewID()
			e.MaxDeliveryAttempts = 10
			e.Id = id[:]
			text, err := proto.Marshal(e)
			if err != nil {
				w.Fatal(err)
			}
			some[i] = journal.HoldRequest{Envelope: text, OfferNo: 1, Lease: journal.Terms{For: lease}}
		}
		done := make(chan []journal.HoldResult, 1)
		w.j.Hold(home, some, func(r []journal.HoldResult, _ error) { done <- r })
		held = append(held, <-done...)
	}
	return held
}

func setupCrowd(t *testing.T, read func(reads, bytes int)) *crowd {
	c := &crowd{world: &world{T: t, dir: t.TempDir()}}
	c.open(journal.WithPages(journal.Options{}, read))
	c.home, c.holder = journal.Identity{Journal: journal.NewID(), Epoch: 1}, journal.Identity{Journal: journal.NewID(), Epoch: 1}
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c.acceptMany(large, strings.Repeat("x", 32<<10)) // of more bytes than pages have room for
	check(c.j.KeepInbox(ctx, "orders"))
	c.due = c.acceptMany(many, "")
	dead := c.acceptMany(many, "")
	check(atOnce(many, func(i int) error { return c.j.Refuse(ctx, dead[i], 1, state.ReasonRejected, "no") }))
	const gated = 1100
	check(atOnce(gated, func(int) error {
		_, err := c.j.Accept(ctx, []journal.Accept{{Envelope: envelope(), Plan: &wire.Plan{Parts: []*wire.Part{part(1, true, "boss")}}}})
		return err
	}))
	c.ours = large + 2*many + 2*gated
	check(atOnce(many/2, func(i int) error {
		done := make(chan struct{})
		c.j.RecordHeld(c.holder, c.due[i:i+1], []uint64{1}, true, func() { close(done) })
		<-done
		return nil
	}))
	_, err := c.j.SawHome(ctx, c.home, "127.0.0.1:1", nil)
	check(err)
	c.holdMany(c.home, many, 0)
	rejected := c.holdMany(c.home, many, time.Hour)
	check(atOnce(many, func(i int) error {
		got, err := c.j.Settle(ctx, []journal.Settle{{ID: rejected[i].ID, Lease: rejected[i].Handed.Lease, Action: journal.Nack, Reject: true}})
		if err != nil {
			return err
		}
		return got[0].Err
	}))
	check(atOnce(many, func(i int) error {
		id := journal.Identity{Journal: journal.NewID(), Epoch: 1}
		if _, err := c.j.SawHome(ctx, id, "127.0.0.1:1", nil); err != nil {
			return err
		}
		if err := c.j.SawHolder(ctx, id, "127.0.0.1:1", false, nil); err != nil {
			return err
		}
		_, err := c.j.Learn(ctx, fmt.Sprintf("agent-%d", i))
		return err
	}))
	return c
}

// short are the methods that read a record or two by their keys, or nothing of the store.
var short = strings.Fields(`Apply Hold RecordHeld Accounts Account Uses Size Backlogs Queues DeadLetter Rewind RewindMail
	OpenMail Thread LastChange Identity Stats Err Close Killed AgentEvents AgentNo LastSeq ForThreads AgentName Agents
	Applied ProvenBy CheckHolder Get BodySize Events Schedule Schedules Schema Schemas Watch Subscriptions Notice OpenFiles`)

// long are those that read as much as there is, or as is asked for, and how much each of
// them finds in a crowd.
func (c *crowd) long(check func(error)) map[string]func() (got, want int) {
	no, _ := c.j.AgentNo(billing)
	skip := func(journal.ID) bool { return true }
	never := func(journal.ID, time.Time) bool { return true }
	late := time.Now().Add(time.Minute)
	return map[string]func() (got, want int){
		"List": func() (got, want int) {
			var before journal.ID
			for {
				list, next, err := c.j.List(journal.Filter{Before: before, Limit: 3000, Keep: func(i *journal.Intent) bool { return i.Head != nil }})
				check(err)
				got += len(list)
				if before = next; next.IsZero() {
					return got, c.ours
				}
			}
		},
		"DeadLetters": func() (int, int) {
			list, _, err := c.j.DeadLetters(journal.DeadFilter{Limit: 2 * many})
			check(err)
			return len(list), many
		},
		"CountDead": func() (n, want int) {
			counts, _, err := c.j.CountDead(2 * many)
			check(err)
			for _, k := range counts {
				n += k.Count
			}
			return n, many
		},
		"CountWaiting": func() (int, int) {
			n, _, _, err := c.j.CountWaiting(2 * many)
			check(err)
			return n, 0
		},
		"Due": func() (int, int) {
			passed := 0
			_, _, err := c.j.Due(no, late, 1, func(id journal.ID) bool { passed++; return skip(id) })
			check(err)
			return passed, large + many - many/2
		},
		"DuePart": func() (int, int) {
			offers, _, err := c.j.DuePart(no, 1, late, 2*many, func(journal.ID) bool { return false })
			check(err)
			return min(len(offers), 1), 1 // and as many others as it may return bytes
		},
		"DueAgents": func() (int, int) { return len(c.j.DueAgents()), 1 },
		"Mail": func() (int, int) {
			passed := 0
			_, _, err := c.j.Mail(no, late, 1, func(id journal.ID, at time.Time) bool { passed++; return never(id, at) })
			check(err)
			return passed, many
		},
		"MailAll": func() (int, int) {
			mail, err := c.j.MailAll(no)
			check(err)
			return len(mail), many
		},
		"HoldsFrom": func() (int, int) {
			if c.j.HoldsFrom(journal.NewID()) {
				return 1, 0
			}
			return 0, 0
		},
		"Holding": func() (int, int) {
			all, err := c.j.Holding(c.home.Journal)
			check(err)
			return len(all), 2 * many
		},
		"Senders": func() (int, int) {
			all, err := c.j.Senders(c.home.Journal)
			check(err)
			return len(all), 1
		},
		"Reports": func() (int, int) {
			all, err := c.j.Reports(c.home.Journal, 0, 1000)
			check(err)
			return len(all), 1000
		},
		"Homes": func() (int, int) {
			all, err := c.j.Homes()
			check(err)
			return len(all), many/2 + 1 // ForgetStrangers comes first
		},
		"Holders": func() (int, int) {
			all, err := c.j.Holders()
			check(err)
			return len(all), many
		},
		"HeldAt": func() (n, want int) {
			for after := (journal.ID{}); ; {
				ids, err := c.j.HeldAt(c.holder.Journal, after, 500)
				check(err)
				if n += len(ids); len(ids) == 0 {
					return n, many / 2
				}
				after = ids[len(ids)-1]
			}
		},
		"Dests": func() (n, want int) {
			all, err := c.j.Dests(c.due)
			check(err)
			for _, a := range all {
				if a == no {
					n++
				}
			}
			return n, many
		},
		"Tasks": func() (int, int) {
			tasks, _, err := c.j.Tasks(journal.ID{}, 2000, func(*journal.Intent) bool { return true })
			check(err)
			return min(1, len(tasks)), 1 // and as many others as are among the first 1,000 that wait
		},
		"Threads": func() (int, int) {
			all, _, err := c.j.Threads(journal.ThreadFilter{Owner: "orders", Limit: 3000}, 0)
			check(err)
			return len(all), 2000
		},
		"ThreadChanges": func() (int, int) {
			all, _, err := c.j.ThreadChanges(journal.ThreadFilter{Owner: "orders", Limit: 3000}, 0)
			check(err)
			return min(1, len(all)), 1
		},
		"ForgetStrangers": func() (int, int) {
			n, err := c.j.ForgetStrangersBeyond(many/2, many/2, func(journal.ID) bool { return false })
			check(err)
			return n, many - many/2
		},
		"AskElsewhere": func() (int, int) { check(c.j.AskElsewhere(c.Context())); return 0, 0 },
		"KeepInbox":    func() (int, int) { check(c.j.KeepInbox(c.Context(), billing)); return 0, 0 },
		"scrub":        func() (int, int) { check(c.j.Scrub(c.Context())); return 0, 0 },
		"history":      func() (int, int) { check(c.j.LetGo()); return 0, 0 },
	}
}

// However much there is, no snapshot lasts longer than a page: what is deleted meanwhile
// could not be dropped.
func TestReadsAreShort(t *testing.T) {
	t.Parallel()
	var reads, bytes atomic.Int64
	most := func(of *atomic.Int64, n int) {
		for was := of.Load(); int64(n) > was && !of.CompareAndSwap(was, int64(n)); was = of.Load() {
		}
	}
	c := setupCrowd(t, func(r, b int) { most(&reads, r); most(&bytes, b) })
	// An intent's records are read to the end.
	const spareReads, spareBytes = 16, 128 << 10
	short := func(what string) {
		t.Helper()
		if n := reads.Swap(0); n > journal.PageReads+spareReads {
			t.Errorf("%s: a page has read %d keys and records, want at most %d", what, n, journal.PageReads)
		}
		if n := bytes.Swap(0); n > journal.PageBytes+spareBytes {
			t.Errorf("%s: a page has read %d bytes, want at most %d", what, n, journal.PageBytes)
		}
	}
	short("what fills the journal")
	long := c.long(func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	})
	names := []string{}
	for name := range long {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if got, want := long[name](); got != want {
			t.Errorf("%s: found %d, want %d", name, got, want)
		}
		short(name)
	}
}

// Who adds a method says how much it reads: one that takes a context is the committer's,
// where a batch bounds it.
func TestEachReadIsKnown(t *testing.T) {
	t.Parallel()
	c := &crowd{world: setup(t)}
	long := c.long(nil)
	files := token.NewFileSet()
	paths, err := filepath.Glob("*.go")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, paths)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			m, is := d.(*ast.FuncDecl)
			if !is || !m.Name.IsExported() || m.Recv == nil || !isJournal(m.Recv.List[0].Type) || takesContext(m) {
				continue
			}
			if name := m.Name.Name; long[name] == nil && !slices.Contains(short, name) {
				t.Errorf("%s: say in page_test.go how much %s reads", files.Position(m.Pos()), name)
			}
		}
	}
}

func isJournal(recv ast.Expr) bool {
	star, is := recv.(*ast.StarExpr)
	if !is {
		return false
	}
	name, is := star.X.(*ast.Ident)
	return is && name.Name == "Journal"
}

func takesContext(m *ast.FuncDecl) bool {
	if len(m.Type.Params.List) == 0 {
		return false
	}
	sel, is := m.Type.Params.List[0].Type.(*ast.SelectorExpr)
	return is && sel.Sel.Name == "Context"
}

// What moves in a mailbox while what is held is listed, page by page, is listed once, as it
// is in the end: what is left out home would give to another.
func TestHoldingMissesNothing(t *testing.T) {
	t.Parallel()
	var between atomic.Pointer[func()]
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.WithPages(journal.Options{}, func(int, int) {
		if f := between.Swap(nil); f != nil {
			(*f)()
		}
	}))
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	first := w.holdMany(home, 1, 0)[0]
	w.holdMany(home, many, time.Hour)
	last := w.holdMany(home, 2, 2*time.Hour)
	move := func() { // to behind where the list is, to ahead of it, and out
		if s := w.settle(journal.Settle{ID: last[0].ID, Lease: last[0].Handed.Lease, Action: journal.Nack}); s.Err != nil {
			t.Error(s.Err)
		}
		if s := w.settle(journal.Settle{ID: last[1].ID, Lease: last[1].Handed.Lease, Action: journal.Ack}); s.Err != nil {
			t.Error(s.Err)
		}
		if got, err := w.j.Lease(t.Context(), []journal.ID{first.ID}, []journal.Terms{{For: 3 * time.Hour}}); err != nil || got[0].Err != nil {
			t.Error(err, got)
		}
	}
	between.Store(&move)
	list, err := w.j.Holding(home.Journal)
	if err != nil {
		t.Fatal(err)
	}
	phases := map[journal.ID]state.Phase{}
	for _, h := range list {
		if _, twice := phases[h.ID]; twice {
			t.Errorf("%s is listed twice", h.ID)
		}
		phases[h.ID] = h.Phase
	}
	if len(list) != many+3 {
		t.Errorf("%d are listed, want %d", len(list), many+3)
	}
	for id, want := range map[journal.ID]state.Phase{first.ID: state.Leased, last[0].ID: state.Ready, last[1].ID: state.Answered} {
		if got := phases[id]; got != want {
			t.Errorf("%s is listed as %v, want %v", id, got, want)
		}
	}
}

// TestPagesCountWhatTheyRead: a page that does not count one way to read is never full of it.
func TestPagesCountWhatTheyRead(t *testing.T) {
	t.Parallel()
	const n, size = 10, 5000
	var reads, bytes atomic.Int64
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.WithPages(journal.Options{}, func(r, b int) { reads.Add(int64(r)); bytes.Add(int64(b)) }))
	for range n {
		e := envelope()
		e.Payload = []byte(`{"x":"` + strings.Repeat("x", size) + `"}`)
		if got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e}}); err != nil || got[0].Err != nil {
			t.Fatal(err, got)
		}
	}
	reads.Store(0)
	bytes.Store(0)
	for _, o := range w.due() {
		w.get(o.ID)
	}
	if r, b := reads.Load(), bytes.Load(); r < 7*n || b < 2*n*size { // an entry, and six records
		t.Errorf("%d reads of %d bytes are counted", r, b)
	}
	if mail, err := w.j.MailAll(1); err != nil || len(mail) != 0 || w.j.Walks() != 0 {
		t.Errorf("%d in the mailbox, %v; %d walks are under way", len(mail), err, w.j.Walks())
	}
}
