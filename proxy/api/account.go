package api

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"pannier/journal"
	"pannier/journal/wire"
)

// tokenPrefix begins the keys of service accounts, as AXP's clients know them:
// prefix, 32 hex digits of the account's id, "_", secret.
const tokenPrefix = "axme_sa_"

// accountCaller is whom a key of a service account speaks for, nil for nobody.
func (a *API) accountCaller(token string) *Caller {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return nil
	}
	text, _, _ = strings.Cut(text, "_")
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != len(journal.ID{}) {
		return nil
	}
	acc, err := a.journal.Account(journal.ID(id))
	if err != nil {
		return nil
	}
	hash, now := journal.TokenHash(token), time.Now().UnixMilli()
	found := -1
	for i, k := range acc.Keys {
		inForce := k.RevokedMs == 0 && (k.ExpiresMs == 0 || k.ExpiresMs > now)
		if same := subtle.ConstantTimeCompare(hash[:], k.Hash); inForce {
			found = subtle.ConstantTimeSelect(same, i, found)
		}
	}
	if found < 0 {
		return nil
	}
	c := &Caller{Agents: []string{acc.Agent}}
	if ends := acc.Keys[found].ExpiresMs; ends != 0 {
		c.until = time.UnixMilli(ends)
	}
	return c
}

// accounts serves GET /v1/service-accounts: those of the caller's agents.
func (a *API) accounts(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	org, workspace := q.text("org_id"), q.text("workspace_id")
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("service_accounts").open('[')
	for _, acc := range a.journal.Accounts() {
		if !callerOf(r).May(acc.Agent) || org != "" && org != acc.OrgId || workspace != "" && workspace != acc.WorkspaceId {
			continue
		}
		d.item()
		writeAccount(d, acc, "active")
	}
	return answer(w, d.close(']').close('}'))
}

// account serves GET /v1/service-accounts/{id}.
func (a *API) account(w http.ResponseWriter, r *http.Request) error {
	acc, err := a.accountOf(r)
	if err != nil {
		return err
	}
	return answerAccount(w, acc, "active")
}

// addAccount serves POST /v1/service-accounts. An agent has one account, so a
// repeat makes no second and is answered with the first, as it is.
func (a *API) addAccount(w http.ResponseWriter, r *http.Request) error {
	acc, err := a.readAccount(w, r)
	if err != nil {
		return err
	}
	if !callerOf(r).May(acc.Agent) {
		return refuse(codePolicyDenied, "the key does not speak for %s, and makes no account for it", clip(acc.Agent, 64))
	}
	if acc, err = a.journal.AddAccount(r.Context(), acc); err != nil {
		return err
	}
	return answerAccount(w, acc, "active")
}

// dropAccount serves DELETE /v1/service-accounts/{id}: its keys end with it.
func (a *API) dropAccount(w http.ResponseWriter, r *http.Request) error {
	acc, err := a.accountOf(r)
	if err != nil {
		return err
	}
	if acc, err = a.journal.DropAccount(r.Context(), journal.ID(acc.Id)); err != nil {
		return accountError(err)
	}
	a.KeysChanged()
	return answerAccount(w, acc, "revoked")
}

// addAccountKey serves POST /v1/service-accounts/{id}/keys. The token is in
// this answer and nowhere else. A repeat under the same Idempotency-Key changes
// the token of the same key: the answer that was lost is worth nothing then.
func (a *API) addAccountKey(w http.ResponseWriter, r *http.Request) error {
	acc, err := a.accountOf(r)
	if err != nil {
		return err
	}
	expires, err := a.readAccountKey(w, r)
	if err != nil {
		return err
	}
	key := journal.NewID()
	if header, err := headerKey(r.Header); err != nil {
		return err
	} else if header != "" {
		key = journal.ID(uuid.NewSHA1(uuid.UUID(acc.Id), []byte(callerOf(r).identity()+"\x00"+header)))
	}
	token := newToken(journal.ID(acc.Id))
	hash := journal.TokenHash(token)
	made, err := a.journal.AddAccountKey(r.Context(), journal.ID(acc.Id), &wire.AccountKey{
		Id: key[:], Hash: hash[:], Hint: "…" + token[len(token)-4:], ExpiresMs: expires,
	})
	if err != nil {
		return accountError(err)
	}
	a.KeysChanged() // of a repeat the token before is gone
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("key").open('{').str("key_id", key.String())
	d.str("service_account_id", idText(acc.Id)).str("key_hint", made.Hint).str("status", "active")
	d.ms("created_at", made.CreatedMs).ms("expires_at", made.ExpiresMs).str("token", token)
	return answer(w, d.close('}').close('}'))
}

// newToken makes a key of 256 random bits.
func newToken(account journal.ID) string {
	var secret [32]byte
	rand.Read(secret[:])
	return tokenPrefix + hex.EncodeToString(account[:]) + "_" + hex.EncodeToString(secret[:])
}

// revokeAccountKey serves POST /v1/service-accounts/{id}/keys/{key}/revoke. A
// repeat is answered as the first.
func (a *API) revokeAccountKey(w http.ResponseWriter, r *http.Request) error {
	acc, err := a.accountOf(r)
	if err != nil {
		return err
	}
	key, err := journal.ParseID(r.PathValue("key"))
	if err != nil {
		return errNoAccount
	}
	revoked, err := a.journal.RevokeAccountKey(r.Context(), journal.ID(acc.Id), key)
	if err != nil {
		return accountError(err)
	}
	a.KeysChanged()
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("key").open('{').str("service_account_id", idText(acc.Id)).str("key_id", key.String())
	return answer(w, d.str("status", "revoked").ms("revoked_at", revoked.RevokedMs).close('}').close('}'))
}

var errNoAccount = refuse(codeAccountNotFound, "no such service account, or key of it, at this sidecar")

func accountError(err error) error {
	if errors.Is(err, journal.ErrNotFound) {
		return errNoAccount
	}
	return err
}

// accountOf finds the account of a path; of one that is not of the caller's
// agents nobody else learns.
func (a *API) accountOf(r *http.Request) (*wire.Account, error) {
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, errNoAccount
	}
	acc, err := a.journal.Account(id)
	if err != nil || !callerOf(r).May(acc.Agent) {
		return nil, errNoAccount
	}
	return acc, nil
}

const maxAccountText = 1024

func (a *API) readAccount(w http.ResponseWriter, r *http.Request) (*wire.Account, error) {
	raw, err := a.readBody(w, r, a.opt.MaxBody)
	if err != nil {
		return nil, err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return nil, err
	}
	acc := &wire.Account{
		Name: body.required("name", maxAddress), Description: body.text("description", maxAccountText), DisplayName: body.text("display_name", maxActor),
		OrgId: body.uuid("org_id"), WorkspaceId: body.uuid("workspace_id"), CreatedBy: body.text("created_by_actor_id", maxActor),
	}
	if acc.CreatedBy == "" {
		acc.CreatedBy = actorOf(r)
	}
	if acc.Agent = body.address("agent_address", false); acc.Agent == "" && acc.Name != "" {
		var why string
		if acc.Agent, why = readAddress(a.accountAddress(r, acc.Name)); why != "" {
			body.fault("name", codeInvalidAddress, "%s", why)
		}
	}
	if strings.Contains(acc.Name, "/") {
		acc.Name = accountName(acc.Name)
	}
	if n := len(acc.Name); n > 0 && n < minName || n > maxName {
		body.fault("name", codeSchemaInvalid, "must have %d to %d characters", minName, maxName)
	}
	return acc, faultsOf(faults)
}

// accountAddress makes an address of a name: beside the caller's first agent, or
// the sidecar's. What is an address already stays as it is.
func (a *API) accountAddress(r *http.Request, name string) string {
	beside := a.opt.DefaultAgent
	if c := callerOf(r); c != nil && c.Agents[0] != everyAgent {
		beside = c.Agents[0]
	}
	parts := strings.Split(beside, "/") // agent: "" org workspace name
	if strings.Contains(name, "/") || len(parts) != 5 {
		return name
	}
	parts[4] = name
	return strings.Join(parts, "/")
}

// uuid takes a member that is a UUID; the zero one where it is absent.
func (o *object) uuid(name string) string {
	text := o.text(name, 64)
	id, err := journal.ParseID(text)
	if text != "" && err != nil {
		o.fault(name, codeSchemaInvalid, "must be a UUID")
	}
	return id.String()
}

// readAccountKey reads when a new key ends; 0: never.
func (a *API) readAccountKey(w http.ResponseWriter, r *http.Request) (expires int64, err error) {
	raw, err := a.readBody(w, r, a.opt.MaxBody)
	if err != nil || raw == nil {
		return 0, err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return 0, err
	}
	if text := body.text("expires_at", 64); text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil || !t.After(time.Now()) {
			body.fault("expires_at", codeSchemaInvalid, "must be a time of RFC 3339 that is to come")
		}
		expires = t.UnixMilli()
	}
	return expires, faultsOf(faults)
}

// writeAccount writes an account; its address under both names that AXP's
// clients read.
func writeAccount(d *doc, acc *wire.Account, status string) {
	d.open('{').str("service_account_id", idText(acc.Id)).str("org_id", acc.OrgId).str("workspace_id", acc.WorkspaceId)
	d.str("name", acc.Name).opt("description", acc.Description).opt("display_name", acc.DisplayName).str("status", status)
	d.str("agent_address", fullAddress(acc.Agent)).str("address", fullAddress(acc.Agent))
	d.str("created_by_actor_id", acc.CreatedBy).ms("created_at", acc.CreatedMs).ms("updated_at", acc.UpdatedMs).close('}')
}

func answerAccount(w http.ResponseWriter, acc *wire.Account, status string) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("service_account")
	writeAccount(d, acc, status)
	return answer(w, d.close('}'))
}
