package main

import "testing"

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ typed, address, path string }{
		{"billing", "billing", "billing"},
		{"acme/prod/billing", "agent://acme/prod/billing", "acme/prod/billing"},
		{"agent://acme/prod/billing", "agent://acme/prod/billing", "acme/prod/billing"},
		{"agent://billing", "agent://billing", "billing"},
		{"initiator://x", "initiator://x", "initiator:%2F%2Fx"},
		{"a b/c?d/e#f", "agent://a b/c?d/e#f", "a%20b/c%3Fd/e%23f"},
		{"50%", "50%", "50%25"},
	} {
		if got := agentAddress(row.typed); got != row.address {
			t.Errorf("address of %q is %q, want %q", row.typed, got, row.address)
		}
		if got := agentPath(row.typed); got != row.path {
			t.Errorf("path of %q is %q, want %q", row.typed, got, row.path)
		}
	}
}
