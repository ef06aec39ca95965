package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browserTime is only so that a browser that hangs does not hang all else.
const browserTime = 8 * time.Minute

// TestPagesInABrowser: people decide in a real browser, with its scripts and without, alone and
// one after the other, and the sender hears of it; no page breaks its policy of content or has
// a serious fault of accessibility, in any of its looks. PANNIER_SHOTS is a directory for what
// was seen. It runs alone, since a browser among kill loops takes minutes for what is half of one.
func TestPagesInABrowser(t *testing.T) {
	needModules(t, "browser")
	chromium := "chromium"
	need(t, false, chromium)
	home := newSidecar(t, setup{name: "home", agents: []string{shop}})
	home.start()
	ask := func(payload any, task map[string]any) string {
		return home.post("agent://acme/people/finance", payload, map[string]any{"human_task": task})
	}
	claim := map[string]any{"employee": "Ada Lovelace", "amount": 912.4, "items": []any{map[string]any{"what": "Flight", "amount": 612.4}}}
	approval := map[string]any{"title": "Approve the expense of Ada Lovelace", "description": "Above 500 € somebody has to look at it."}
	form := map[string]any{
		"title": "Supplier details of Nordwind GmbH", "task_type": "form", "allowed_outcomes": []string{"submitted", "rejected"}, "required_comment": true,
		"form_schema": json.RawMessage(`{"type":"object","required":["iban","limit"],"properties":{
			"iban":{"type":"string","title":"IBAN","minLength":15},"limit":{"type":"integer","title":"Credit limit","description":"In whole euros.","minimum":100},
			"risk":{"enum":["low","medium","high"],"title":"Risk"},"since":{"type":"string","format":"date","title":"Customer since"},
			"contact":{"type":"object","title":"Contact","properties":{"mail":{"type":"string","format":"email","title":"E-mail"}}},
			"tags":{"type":"array","title":"Tags","items":{"enum":["goods","services"]}},"vat":{"type":"boolean","title":"VAT number checked"}}}`),
	}
	hostile := map[string]any{"</td><script>alert(1)</script>": "<img src=x onerror=alert(2)>", "rtl": "pay \u202e0001", "big": strings.Repeat("big ", 240<<10)}
	small := map[string]any{"</pre><script>alert(4)</script>": "\u2067pay\u2069", "deep": json.RawMessage(strings.Repeat(`[`, 60) + strings.Repeat(`]`, 60))}
	invoice := map[string]any{"supplier": "Nordwind GmbH", "amount": "912.40 EUR"}
	var passed, refused []*gated
	journey := func(scripts string) map[string]string {
		yes, no := sendGated(t, home, scripts+".passed.v1", invoice), sendGated(t, home, scripts+".refused.v1", invoice)
		passed, refused = append(passed, yes), append(refused, no)
		return map[string]string{
			"approve": ask(claim, approval), "reject": ask(claim, approval), "form": ask(claim, form), "passed": yes.title, "refused": no.title,
		}
	}
	scripted, plain := journey("scripts"), journey("plain")
	crafted := sendGated(t, home, "crafted.v1", small)
	keyboard, race := ask(claim, approval), ask(claim, approval)
	tasks, err := json.Marshal(map[string]any{
		"scripted": scripted, "plain": plain, "keyboard": keyboard, "race": race,
		"looks": map[string]string{
			"inbox": "/inbox", "task": "/tasks/" + ask(claim, approval), "form": "/tasks/" + ask(claim, form), "decided": "/tasks/" + keyboard,
			"gate":    "/tasks/" + crafted.asks(home, 0),
			"hostile": "/tasks/" + ask(hostile, map[string]any{"title": "<script>alert(3)</script>\u202e"}), "missing": "/tasks/none", "intent": "/intents/" + crafted.id, "intents": "/intents",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	shots := os.Getenv("PANNIER_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join("browser", "pages.mjs"), "http://"+home.admin, shots)
	path, err := exec.LookPath(chromium)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cleanEnv(), "CHROMIUM="+path, "HOME="+t.TempDir())
	cmd.Stdin = bytes.NewReader(tasks)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in the browser: %v\n%s", err, tail(string(said), 6000))
	}
	for _, ids := range []map[string]string{scripted, plain} {
		home.status(ids["approve"], "COMPLETED")
		home.status(ids["reject"], "CANCELED")
		if got := home.status(ids["form"], "COMPLETED"); !strings.Contains(string(got.Result), `"limit":1200`) || !strings.Contains(string(got.Result), `"tags":["goods"]`) {
			t.Errorf("the form came as %s", got.Result)
		}
	}
	home.status(race, "COMPLETED")
	for range passed {
		home.ack(home.take1(shop, take{}), map[string]any{"paid": true})
	}
	for i := range passed {
		passed[i].returned(0, `"status":"COMPLETED"`, `"result":{"paid":true}`)
		refused[i].returned(9, `"status":"CANCELED"`, `"actor":"operator"`, "not approved by "+treasury+": rejected: No invoice")
	}
}
