package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"pannier/proxy/webhook"
)

// Secrets are what requests to apps are signed with: *webhook.Keyring. No answer
// has a secret in it, only the path of the file that has.
type Secrets interface {
	List(agents []string) ([]webhook.KeyInfo, error)
	Rotate(agent string, overlap time.Duration) ([]webhook.KeyInfo, error)
	Prepare(agent string) ([]webhook.KeyInfo, error)
}

type secretsAnswer struct {
	OK      bool              `json:"ok"`
	Secrets []webhook.KeyInfo `json:"secrets"`
}

func (h *handler) listSecrets(w http.ResponseWriter, _ *http.Request) {
	list, err := h.Secrets.List(h.Pushed())
	h.answerSecrets(w, list, err)
}

func (h *handler) answerSecrets(w http.ResponseWriter, list []webhook.KeyInfo, err error) {
	if err != nil {
		h.log.Error("secrets", "err", err)
		refuse(w, http.StatusInternalServerError, "internal_error", err.Error())
		return
	}
	Write(w, http.StatusOK, secretsAnswer{OK: true, Secrets: append([]webhook.KeyInfo{}, list...)})
}

// maxOverlap is how long two secrets may sign.
const maxOverlap = 30 * 24 * time.Hour

func (h *handler) rotateSecret(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Agent   string `json:"agent"`
		Overlap int64  `json:"overlap_seconds"`
		Prepare bool   `json:"prepare"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_json", `the body is {"agent": ADDRESS, "overlap_seconds": N, "prepare": false}: `+err.Error())
		return
	}
	overlap := time.Duration(asked.Overlap) * time.Second
	switch {
	case asked.Overlap < 0 || asked.Overlap > int64(maxOverlap/time.Second):
		refuse(w, http.StatusUnprocessableEntity, "schema_invalid", "overlap_seconds: use 0 to 2592000, 30 days")
	case !slices.Contains(h.Pushed(), asked.Agent):
		refuse(w, http.StatusNotFound, "agent_not_found", "agent: no agent of this address receives by http here")
	case asked.Prepare:
		list, err := h.Secrets.Prepare(asked.Agent)
		h.answerSecrets(w, list, err)
	default:
		list, err := h.Secrets.Rotate(asked.Agent, overlap)
		if err == nil {
			h.log.Info("secret rotated", "agent", asked.Agent, "overlap", overlap)
		}
		h.answerSecrets(w, list, err)
	}
}
