package admin

import (
	"net/http"
	"strings"

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

// clientStatus hands gRPC to its own server, which has no words for anything else.
func (h *handler) clientStatus(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		refuse(w, http.StatusUnsupportedMediaType, "grpc_only", "this is a service of gRPC, over HTTP/2 without TLS: GET /v1/admin/xds says the same as JSON")
		return
	}
	h.ClientStatus.ServeHTTP(w, r)
}
