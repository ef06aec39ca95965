package xds_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/mesh"
	"pannier/proxy/xds"
)

// A start without any control plane knows what the last one said: at once, marked,
// and with the switches.
func TestColdStart(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		const nobody = "agent://acme/prod/nobody"
		w.c.Endpoints(billing)
		w.c.Endpoints("bare name") // its key cannot be read back
		w.c.Endpoints(nobody)
		s := p.accept()
		s.whole("10.0.0.7")
		s.ack(mesh.TypeRuntime, layer("l1", map[string]any{mesh.SwitchOutbound: true}))
		time.Sleep(time.Minute)
		w.quit()
		w.down(first)

		time.Sleep(time.Hour)
		w.c = xds.New(w.opt, w.node, slog.New(slog.NewTextHandler(&w.log, nil)))
		w.sees(billing, "10.0.0.7")
		w.sees("bare name", "nowhere")
		w.sees(nobody, "nowhere")
		if !w.c.Policy(billing).Paused {
			t.Error("the switch is off after the start")
		}
		got := w.state("cluster", key)
		if got.State != xds.Stale || got.Version != "c1" || got.Age < 3600 {
			t.Errorf("the status is %+v, want STALE, c1 and an hour old", got)
		}
		if at, live := w.c.Confirmed(); live || time.Since(at) < time.Hour || time.Since(at) > time.Hour+time.Minute {
			t.Errorf("confirmed at %v (live %v), want about an hour ago", at, live)
		}

		p = w.up(first)
		w.start()
		s = p.accept()
		for url, want := range map[string]string{mesh.TypeCluster: "c1", mesh.TypeEndpoints: "e1", mesh.TypeRoute: "r1", mesh.TypeRuntime: ""} {
			r := s.next()
			for r.GetTypeUrl() != url {
				s.requests <- r
				r = s.next()
			}
			name := key
			if url == mesh.TypeRuntime {
				name = mesh.Runtime
			}
			if got := r.GetInitialResourceVersions()[name]; got != want {
				t.Errorf("%s is asked for with version %q known, want %q", url, got, want)
			}
		}
		if got := w.state("cluster", key); got.State != xds.Stale {
			t.Errorf("the status is %+v before the first response, want STALE", got)
		}
		s.greet()
		if got := w.state("cluster", key); got.State != xds.Acked {
			t.Errorf("the status is %+v after the first response, want ACKED", got)
		}
		w.sees(billing, "10.0.0.7")
	})
}

// The grace of a deletion goes on over a restart.
func TestDeletionIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, s := w.synced("10.0.0.7")
		s.ack(mesh.TypeEndpoints, key)
		time.Sleep(8 * time.Minute)
		w.quit()
		w.down(first)
		w.start()
		w.sees(billing, "10.0.0.7")
		time.Sleep(time.Minute)
		w.sees(billing, "10.0.0.7")
		time.Sleep(2 * time.Minute)
		w.sees(billing, "nowhere")
	})
}

func TestOldFileIsNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		p.accept().whole("10.0.0.7")
		time.Sleep(time.Minute)
		w.quit()
		w.down(first)
		time.Sleep(29 * 24 * time.Hour)
		w.c = xds.New(w.opt, w.node, slog.New(slog.NewTextHandler(&w.log, nil)))
		w.sees(billing, "10.0.0.7")
		time.Sleep(2 * 24 * time.Hour)
		w.c = xds.New(w.opt, w.node, slog.New(slog.NewTextHandler(&w.log, nil)))
		w.sees(billing, "unknown")
	})
}

// A stretch without any news does not make the file old: it says daily that all is
// still so.
func TestFileStaysFresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.opt.IdleAfter = 1000 * time.Hour
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		p.accept().whole("10.0.0.7")
		time.Sleep(49 * time.Hour)
		w.quit()
		w.down(first)
		time.Sleep(29 * 24 * time.Hour)
		w.c = xds.New(w.opt, w.node, slog.New(slog.NewTextHandler(&w.log, nil)))
		w.sees(billing, "10.0.0.7")
	})
}

// Whatever became of the file, the sidecar starts; cut short anywhere, or with a
// byte changed, nothing of it is believed.
func TestBrokenFile(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.up(first)
		w.start()
		w.c.Endpoints(billing)
		p.accept().whole("10.0.0.7")
		time.Sleep(time.Minute)
		w.quit()
		whole, err := os.ReadFile(w.opt.File)
		if err != nil {
			t.Fatal(err)
		}
		opt := w.opt
		opt.File = ""
		for n := range len(whole) {
			flipped := append([]byte(nil), whole...)
			flipped[n] ^= 1
			for _, content := range [][]byte{whole[:n], flipped} {
				c := xds.New(opt, w.node, slog.New(slog.DiscardHandler))
				if err := xds.Decode(c, content); err == nil {
					t.Fatalf("a file broken at byte %d of %d is taken", n, len(whole))
				}
				if _, known := c.Endpoints(billing); known {
					t.Fatalf("something is believed of a file broken at byte %d", n)
				}
			}
		}
		if err := os.WriteFile(w.opt.File, whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.sees(billing, "unknown")
		if w.log.count("the last known good cannot be used") != 1 {
			t.Error("nothing is said of it")
		}
	})
}

// TestCrashAtEveryStep stops the writing of the file at each of its steps, and
// loses in every way what was not synced then: what the next start reads is the
// content before or the one after, whole.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	const path = "/journal/xds"
	before, after := strings.Repeat("before ", 20), strings.Repeat("after ", 30)
	steps := 0
	for at := 0; ; at++ {
		d := newModel()
		if err := xds.Replace(d, path, []byte(before)); err != nil {
			t.Fatal(err)
		}
		// A crash before has left something of another write behind.
		d.live["/journal/xds.new"] = &inode{volatile: strings.Repeat("rubbish ", 100)}
		d.left = at
		err := xds.Replace(d, path, []byte(after))
		for _, disk := range d.crashes() {
			got, there := disk[path]
			if !there || got != before && got != after {
				t.Errorf("crash after step %d: the file is %.20q (there: %v)", at, got, there)
			}
			if err == nil && got != after {
				t.Errorf("the write was said to be done, and a crash brings back %.20q", got)
			}
		}
		if err == nil {
			break
		}
		steps++
	}
	if steps < 6 {
		t.Errorf("the write has %d steps, want create, write, sync, close, rename and sync of the directory", steps)
	}
}

// A client whose every write fails says so, goes on, and writes when it can.
func TestDiskThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		d := newModel()
		p := w.up(first)
		w.opt.File = "/journal/xds"
		w.startOn(d)
		w.c.Endpoints(billing)
		s := p.accept()
		d.set(0)
		s.whole("10.0.0.7")
		time.Sleep(time.Minute)
		w.sees(billing, "10.0.0.7")
		if w.log.count("the last known good is not kept") == 0 {
			t.Error("nothing is said of it")
		}
		d.set(1000)
		s.ack(mesh.TypeEndpoints, load(key, "e2", "10.0.0.8"))
		time.Sleep(time.Minute)
		w.quit()
		w.c = xds.NewOnDisk(w.opt, w.node, slog.New(slog.DiscardHandler), d)
		w.sees(billing, "10.0.0.8")
	})
}

// model is a disk on which only what was synced is sure to be there after a crash.
type model struct {
	live    map[string]*inode // names as the process sees them
	durable map[string]*inode // names as they are sure to be
	left    int               // steps until it fails
	mu      chan struct{}
}

type inode struct{ synced, volatile string }

type crashed struct{ step string }

func (c crashed) Error() string { return "crashed at " + c.step }

func newModel() *model {
	return &model{live: map[string]*inode{}, durable: map[string]*inode{}, left: 1000, mu: make(chan struct{}, 1)}
}

func (m *model) set(left int) {
	synctest.Wait()
	m.mu <- struct{}{}
	m.left = left
	<-m.mu
}

func (m *model) step(name string) error {
	m.mu <- struct{}{}
	defer func() { <-m.mu }()
	if m.left == 0 {
		return crashed{name}
	}
	m.left--
	return nil
}

func (m *model) Create(path string) (xds.File, error) {
	if err := m.step("create"); err != nil {
		return nil, err
	}
	if m.live[path] == nil {
		m.live[path] = &inode{}
	}
	m.live[path].volatile = ""
	return &handle{m, m.live[path]}, nil
}

type handle struct {
	m *model
	i *inode
}

func (h *handle) Write(p []byte) (int, error) {
	if err := h.m.step("write"); err != nil {
		n := len(p) / 2
		h.i.volatile += string(p[:n])
		return n, err
	}
	h.i.volatile += string(p)
	return len(p), nil
}

func (h *handle) Sync() error {
	if err := h.m.step("sync"); err != nil {
		return err
	}
	h.i.synced = h.i.volatile
	return nil
}

func (h *handle) Close() error { return h.m.step("close") }

func (m *model) Rename(from, to string) error {
	if err := m.step("rename"); err != nil {
		return err
	}
	m.live[to] = m.live[from]
	delete(m.live, from)
	return nil
}

func (m *model) SyncDir(string) error {
	if err := m.step("sync of the directory"); err != nil {
		return err
	}
	m.durable = maps.Clone(m.live)
	return nil
}

func (m *model) Read(path string, _ int64) ([]byte, error) {
	if i := m.live[path]; i != nil {
		return []byte(i.volatile), nil
	}
	return nil, fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
}

// crashes are the contents there may be after a crash now: each name is the one
// that was synced or the newest, and of each content what was synced, what was
// written, or a part.
func (m *model) crashes() (all []map[string]string) {
	for _, names := range []map[string]*inode{m.live, m.durable} {
		for _, keep := range []func(*inode) string{
			func(i *inode) string { return i.synced },
			func(i *inode) string { return i.volatile },
			func(i *inode) string { return i.volatile[:len(i.volatile)/2] },
			func(i *inode) string { return "" },
		} {
			disk := map[string]string{}
			for name, i := range names {
				disk[name] = keep(i)
				if i.synced == i.volatile {
					disk[name] = i.synced // nothing of it can be lost
				}
			}
			all = append(all, disk)
		}
	}
	return all
}
