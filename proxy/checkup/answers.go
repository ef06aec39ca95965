package checkup

import (
	"encoding/json"
	"time"
)

// Status is the part of /v1/admin/status that people read.
type Status struct {
	Ready     bool   `json:"ready"`
	Version   string `json:"version"`
	Listeners struct {
		API   string `json:"api"`
		Peer  string `json:"peer"`
		Admin string `json:"admin"`
	} `json:"listeners"`
	Checks []struct {
		Name   string `json:"name"`
		OK     bool   `json:"ok"`
		Detail string `json:"detail"`
		Advice bool   `json:"advice"`
	} `json:"checks"`
	Journal struct {
		ID      string `json:"id"`
		Epoch   uint64 `json:"epoch"`
		Unclean bool   `json:"unclean"`
		Durable *bool  `json:"durable"` // nil: it does not say
		Bytes   int64  `json:"bytes"`
		Free    int64  `json:"free_bytes"` // of the volume; 0: it does not say
		Syncs   struct {
			Of  int     `json:"of"`
			P50 float64 `json:"p50_ms"`
			P99 float64 `json:"p99_ms"`
		} `json:"syncs"`
	} `json:"journal"`
	Backlogs []struct {
		Place  string     `json:"place"`
		Count  int        `json:"count"`
		Later  int        `json:"later"`
		Oldest *time.Time `json:"oldest"`
	} `json:"backlogs"`
	Limits []struct {
		Name string `json:"name"`
		Used int    `json:"used"`
		Most int    `json:"most"`
	} `json:"limits"`
}

// Agents are those served here, as /v1/admin/agents has them.
type Agents struct {
	Agents []struct {
		Agent   string `json:"agent"`
		Served  string `json:"served"`
		Binding string `json:"binding"`
		URL     string `json:"url"`
		Set     bool   `json:"set"`
		Door    struct {
			Reason    string `json:"reason"`
			NextProbe string `json:"next_probe"`
		} `json:"door"`
		Readers   int        `json:"readers"`
		Unsettled int        `json:"unsettled"`
		Oldest    *time.Time `json:"oldest"`
	} `json:"agents"`
}

// Destinations are whom something is due for.
type Destinations struct {
	Total        int `json:"total"`
	Destinations []struct {
		Agent       string     `json:"agent"`
		Completions bool       `json:"completions"`
		Waiting     int        `json:"waiting"`
		Later       int        `json:"later"`
		Oldest      *time.Time `json:"oldest"`
		InFlight    int        `json:"in_flight"`
		Why         []struct {
			Code string `json:"code"`
			Text string `json:"text"`
			Peer string `json:"peer"`
		} `json:"why"`
	} `json:"destinations"`
}

// Peers are the sidecars delivered to.
type Peers struct {
	Peers []struct {
		Address   string          `json:"address"`
		JournalID string          `json:"journal_id"`
		Epoch     uint64          `json:"epoch"`
		State     string          `json:"state"`
		Breaker   string          `json:"breaker"`
		Agents    []string        `json:"agents"`
		LastError string          `json:"last_error"`
		Held      int64           `json:"held"`
		Credit    json.RawMessage `json:"credit"`
		NextTry   string          `json:"next_try"`
		OutSince  *time.Time      `json:"out_since"`
		GivenUpAt *time.Time      `json:"given_up_at"`
		Forced    bool            `json:"breaker_forced"`
		Ahead     int64           `json:"clock_ahead_ms"`
		Opens     struct {
			After       int    `json:"after"`
			Interval    string `json:"interval"`
			Least, Most string
		} `json:"breaker_opens"`
		Serves []struct {
			Agent    string          `json:"agent"`
			Health   string          `json:"health"`
			Zone     string          `json:"zone"`
			Priority int             `json:"priority"`
			Subset   string          `json:"subset"`
			Policy   json.RawMessage `json:"policy"`
		} `json:"serves"`
	} `json:"peers"`
}

// XDS is the part of what control planes have told that people read.
type XDS struct {
	Configured bool       `json:"configured"`
	Stale      bool       `json:"stale"`
	Confirmed  *time.Time `json:"confirmed"`
	Servers    []struct {
		Address   string     `json:"address"`
		State     string     `json:"state"`
		Since     time.Time  `json:"since"`
		LastError string     `json:"last_error"`
		NextTry   *time.Time `json:"next_try"`
		Nacks     uint64     `json:"nacks"`
		Refused   string     `json:"not_announced"`
	} `json:"servers"`
	Agents []struct {
		Agent     string `json:"agent"`
		Known     bool   `json:"known"`
		Endpoints int    `json:"endpoints"`
		Here      bool   `json:"here"`
		Paused    bool   `json:"paused"`
	} `json:"agents"`
	Resources []struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		State   string `json:"state"`
		Version string `json:"version"`
		Age     int64  `json:"age_seconds"`
		Error   string `json:"error"`
	} `json:"resources"`
}

// Secrets are what requests to apps are signed with.
type Secrets struct {
	Secrets []struct {
		Agent       string `json:"agent"`
		Fingerprint string `json:"fingerprint"`
		State       string `json:"state"`
		Made        string `json:"made_at"`
		Retires     string `json:"retires_at"`
		LastUsed    string `json:"last_used_at"`
		Path        string `json:"path"`
	} `json:"secrets"`
}

// DeadKinds are dead letters by kind, as the sidecar has them in memory.
type DeadKinds struct {
	At      time.Time  `json:"at"`
	Kinds   []DeadKind `json:"groups"`
	More    bool       `json:"more"` // only the newest were counted
	Waiting struct {
		Count  int        `json:"count"`
		More   bool       `json:"more"`
		Oldest *time.Time `json:"oldest"`
	} `json:"waiting_for_operator"`
}

// DeadKind are the dead letters of one agent that ended for one cause.
type DeadKind struct {
	Agent    string    `json:"to_agent"`
	Cause    string    `json:"cause"`
	Code     string    `json:"code"`
	Means    string    `json:"means"`
	Redriven bool      `json:"redriven"` // they have a successor
	Count    int       `json:"count"`
	Oldest   time.Time `json:"oldest"`
	Newest   time.Time `json:"newest"`
}

// Open is how many have no successor, and when the first of them ended.
func (d *DeadKinds) Open() (n int, oldest *time.Time) {
	for i := range d.Kinds {
		if k := &d.Kinds[i]; !k.Redriven {
			n += k.Count
			if oldest == nil || k.Oldest.Before(*oldest) {
				oldest = &k.Oldest
			}
		}
	}
	return n, oldest
}

// Dead are dead letters, of which only how many there are is asked.
type Dead struct {
	List []json.RawMessage `json:"dead_letters"`
}
