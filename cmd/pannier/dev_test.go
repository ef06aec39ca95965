package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pannier/proxy"
)

func TestGreetingIsShort(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := dev{data: "DATA", out: &out}
	infos := map[string]proxy.Info{
		"orders":  {API: "orders-api", Peer: "orders-peer", Admin: "orders-admin"},
		"billing": {API: "billing-api", Peer: "billing-peer", Admin: "billing-admin"},
	}
	if err := d.greet(infos); err != nil {
		t.Fatal(err)
	}
	// One more line follows at the end: where the data is.
	if lines := strings.Count(out.String(), "\n"); lines > 14 {
		t.Errorf("%d lines, want at most 14:\n%s", lines, out.String())
	}
	for _, want := range []string{
		"data in DATA", "orders-admin", "billing-peer", "billing-admin",
		"pannier send --addr orders-api", "pannier poll --addr billing-api", "curl -s orders-api/v1/intents ", "http://orders-admin/inbox",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the greeting does not contain %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "%!") {
		t.Errorf("the greeting is badly formatted:\n%s", out.String())
	}
}

func TestGreetingAsJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := dev{asJSON: true, out: &out}
	if err := d.greet(map[string]proxy.Info{"orders": {API: "h:1"}}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Ready    bool
		Sidecars map[string]struct{ API string }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || !got.Ready || got.Sidecars["orders"].API != "h:1" {
		t.Errorf("%v: %s", err, out.String())
	}
}
