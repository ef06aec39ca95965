package main

import (
	"context"
	"strings"
	"testing"
)

// A wrong command line ends with 2 and says what to do, before anything is asked of
// anybody.
func TestWrongCommandLines(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	const cluster = "--kubeconfig=testdata/kubeconfig"
	for _, row := range []struct {
		args string
		want string
	}{
		{"--bogus", "not defined: -bogus"},
		{"serve", "it takes flags only"},
		{"--listen 127.0.0.1:0", "name a file with --kubeconfig"},
		{"--listen 127.0.0.1:0 --kubeconfig none", "no such file"},
		{"--listen 127.0.0.1:0 --namespace No " + cluster, `namespace: "No" is none`},
		{"--listen 0.0.0.0:0 " + cluster, "beyond loopback"},
		{"--listen 0.0.0.0:0 --insecure --token-review " + cluster, "could take tokens"},
		{"--listen 127.0.0.1:0 --token-review --source registration", "it needs the sources kubernetes and registration"},
		{"--listen 127.0.0.1:0 --token-review --source kubernetes " + cluster, "it needs the sources kubernetes and registration"},
		{"--listen 127.0.0.1:0 --token-review --token-audience= " + cluster, "token-audience: empty"},
	} {
		var out, said strings.Builder
		ctx, stop := context.WithCancel(context.Background())
		stop() // where it is taken all the same, it ends at once
		code := execute(ctx, append([]string{"pannier-control"}, strings.Fields(row.args)...), &out, &said)
		if code != exitUsage || !strings.Contains(said.String(), row.want) || out.Len() > 0 {
			t.Errorf("%s: exit %d, %q, want 2 and %q", row.args, code, said.String(), row.want)
		}
	}
}
