package main

import (
	"strings"
	"testing"
)

// What --set says is one value, with its commas.
func TestSetAgents(t *testing.T) {
	t.Parallel()
	const pod = "kind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: app\n"
	o := pannier(t, pod, "inject", "-f", "-", "--all", "--image", "pannier:1.2", "--set", "agents=acme/prod/a,acme/prod/b=poll", "--set", "insecure-peer=true")
	if o.exit != 0 || !strings.Contains(o.stdout, `"acme/prod/a,acme/prod/b=poll"`) {
		t.Errorf("exit code %d: %s%s", o.exit, o.stdout, o.stderr)
	}
}
