package admin

import (
	"net/http"
	"time"

	"pannier/journal"
)

// Figures are what a process knows of itself beside the journal's Stats.
type Figures struct {
	Listeners Listeners
	Bytes     int64 // of the journal on disk, about
	Syncs     Syncs
	Backlogs  []journal.Backlog
	Limits    []journal.Use
}

// Listeners are where a sidecar is to be reached.
type Listeners struct {
	API   string `json:"api"`
	Peer  string `json:"peer"`
	Admin string `json:"admin"`
}

// Syncs are how long the journal's last batches, Of of them, took to be durable.
type Syncs struct {
	Of  int     `json:"of"`
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

type statusAnswer struct {
	OK        bool            `json:"ok"`
	Ready     bool            `json:"ready"`
	Version   string          `json:"version,omitempty"`
	Listeners Listeners       `json:"listeners"`
	Checks    []Check         `json:"checks"`
	Journal   journalAnswer   `json:"journal"`
	Backlogs  []backlogAnswer `json:"backlogs"`
	Limits    []limitAnswer   `json:"limits"`
}

type journalAnswer struct {
	ID      string            `json:"id"`
	Epoch   uint64            `json:"epoch"`
	Seq     uint64            `json:"seq"`
	Ops     uint64            `json:"operations"`
	Boot    uint32            `json:"boot"`
	Unclean bool              `json:"unclean"`
	Durable bool              `json:"durable"`
	Bytes   int64             `json:"bytes"`
	Free    int64             `json:"free_bytes,omitempty"` // of the volume
	Syncs   Syncs             `json:"syncs"`
	Live    map[string]uint64 `json:"live"`
}

// backlogAnswer is how much waits in one place, and since when.
type backlogAnswer struct {
	Place  string     `json:"place"`
	Count  int        `json:"count"`
	Later  int        `json:"later,omitempty"`
	Oldest *time.Time `json:"oldest,omitempty"`
}

type limitAnswer struct {
	Name string `json:"name"`
	Used int    `json:"used"`
	Most int    `json:"most"`
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	s, now, f := h.Stats(), h.Health(), h.Figures()
	a := statusAnswer{
		OK: true, Ready: now.Ready(), Version: h.Version, Listeners: f.Listeners, Checks: now.Checks,
		Journal: journalAnswer{
			ID: s.Identity.Journal.String(), Epoch: s.Identity.Epoch, Seq: s.Seq, Ops: s.BatchSizes, Boot: s.Boot,
			Unclean: s.Unclean, Durable: s.Durable, Bytes: f.Bytes, Free: s.Free, Syncs: f.Syncs, Live: s.Live,
		},
		Backlogs: []backlogAnswer{}, Limits: []limitAnswer{},
	}
	for _, b := range f.Backlogs {
		one := backlogAnswer{Place: b.Name, Count: b.Count, Later: b.Later}
		if b.Count > 0 && !b.Oldest.IsZero() {
			one.Oldest = &b.Oldest
		}
		a.Backlogs = append(a.Backlogs, one)
	}
	for _, u := range f.Limits {
		a.Limits = append(a.Limits, limitAnswer{u.Name, u.Used, u.Most})
	}
	Write(w, http.StatusOK, a)
}
