package outbound

import (
	"encoding/json"
	"time"
)

// MarshalJSON writes a policy as it is written in a file: what it does not say is
// left out.
func (p Policy) MarshalJSON() ([]byte, error) {
	type backoff struct {
		Base span `json:"base,omitzero"`
		Max  span `json:"max,omitzero"`
	}
	type breaker struct {
		Consecutive        int  `json:"consecutive,omitzero"`
		Interval           span `json:"interval,omitzero"`
		BaseEjection       span `json:"base_ejection,omitzero"`
		MaxEjection        span `json:"max_ejection,omitzero"`
		MaxEjectionPercent int  `json:"max_ejection_percent,omitzero"`
	}
	type fault struct {
		Delay        span    `json:"delay,omitzero"`
		DelayPercent float64 `json:"delay_percent,omitzero"`
		AbortPercent float64 `json:"abort_percent,omitzero"`
	}
	type share struct {
		Subset string `json:"subset"`
		Weight int    `json:"weight"`
	}
	b := p.Breaker
	shares := make([]share, len(p.Split))
	for i, s := range p.Split {
		shares[i] = share(s)
	}
	return json.Marshal(struct {
		Paused        bool    `json:"paused,omitzero"`
		MaxRequests   int     `json:"max_requests,omitzero"`
		PerTryTimeout span    `json:"per_try_timeout,omitzero"`
		Backoff       backoff `json:"backoff,omitzero"`
		Breaker       breaker `json:"breaker,omitzero"`
		Fault         fault   `json:"fault,omitzero"`
		Split         []share `json:"split,omitempty"`
	}{
		p.Paused, p.MaxRequests, span(p.PerTryTimeout),
		backoff{span(p.Backoff.Base), span(p.Backoff.Max)},
		breaker{b.Consecutive, span(b.Interval), span(b.BaseEjection), span(b.MaxEjection), b.MaxEjectionPercent},
		fault{span(p.Fault.Delay), p.Fault.DelayPercent, p.Fault.AbortPercent},
		shares,
	})
}

// span is a duration as people write it.
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }
