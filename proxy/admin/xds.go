package admin

import (
	"net/http"

	"pannier/proxy/xds"
)

type xdsAnswer struct {
	OK         bool `json:"ok"`
	Configured bool `json:"configured"` // false: this sidecar asks no control plane, and the rest is left out
	*xds.Status
}

func (h *handler) xds(w http.ResponseWriter, _ *http.Request)     { h.showXDS(w, false) }
func (h *handler) xdsDump(w http.ResponseWriter, _ *http.Request) { h.showXDS(w, true) }

func (h *handler) showXDS(w http.ResponseWriter, dump bool) {
	answer := xdsAnswer{OK: true}
	if h.XDS != nil {
		status := h.XDS(dump)
		answer.Configured, answer.Status = true, &status
	}
	Write(w, http.StatusOK, answer)
}
