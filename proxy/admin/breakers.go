package admin

import (
	"encoding/json"
	"errors"
	"net/http"

	"pannier/journal/state"
	"pannier/outbound"
)

// Breaker is what an operator may do to the breaker of an address. Its error is
// outbound.ErrNoLink.
type Breaker interface {
	OpenBreaker(address string) error
	CloseBreaker(address string) error
}

func (h *handler) openBreaker(w http.ResponseWriter, r *http.Request) {
	h.breaker(w, r, "open", h.Breaker.OpenBreaker)
}

func (h *handler) closeBreaker(w http.ResponseWriter, r *http.Request) {
	h.breaker(w, r, "closed", h.Breaker.CloseBreaker)
}

func (h *handler) breaker(w http.ResponseWriter, r *http.Request, becomes string, do func(string) error) {
	var asked struct {
		Address string `json:"address"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_json", `the body is {"address": "HOST:PORT"}: `+err.Error())
		return
	}
	if err := do(asked.Address); errors.Is(err, outbound.ErrNoLink) {
		refuse(w, http.StatusNotFound, "peer_not_found", "nothing is sent to this address: use one that /v1/admin/peers shows")
		return
	} else if err != nil {
		refuse(w, http.StatusInternalServerError, "internal_error", err.Error())
		return
	}
	h.log.Warn("breaker set", "peer", asked.Address, "state", becomes, "reason", state.ReasonOperator.String())
	Write(w, http.StatusOK, struct {
		OK      bool   `json:"ok"`
		Address string `json:"address"`
		Breaker string `json:"breaker"`
	}{true, asked.Address, becomes})
}
