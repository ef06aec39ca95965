package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"

	"pannier/proxy/identity/identitytest"
)

// TestInjectedSidecarTakesItsSettings: what `pannier inject` tells a sidecar by its environment is what a
// sidecar understands, however it is to prove who it is.
func TestInjectedSidecarTakesItsSettings(t *testing.T) {
	t.Parallel()
	root := t.TempDir() // of the container
	write := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/pannier/keyring/keyring.yaml", `keys: [{id: a, secret: `+base64.StdEncoding.EncodeToString(make([]byte, 32))+`, use: current}]`)
	write("etc/pannier/config/config.yaml", "retry_max: 1m\n")
	ca := identitytest.NewCA(t, "acme")
	leaf := ca.Issue(nil, "spiffe://acme.example/agent/acme/prod/a")
	write("etc/pannier/tls/tls.crt", string(leaf.CertPEM()))
	write("etc/pannier/tls/tls.key", string(leaf.KeyPEM()))
	write("etc/pannier/tls/ca.crt", string(ca.PEM()))
	for name, extra := range map[string]string{
		"keyring":  `"pannier.io/keyring-secret": "k"`,
		"tls":      `"pannier.io/tls-secret": "t"`,
		"insecure": `"pannier.io/insecure-peer": "true"`,
		"spiffe":   `"pannier.io/spiffe": "true"`,
		"alone":    `"pannier.io/keyring-secret": "k", "pannier.io/control-plane": "none"`,
		"config":   `"pannier.io/keyring-secret": "k", "pannier.io/config": "c"`,
		"app":      `"pannier.io/keyring-secret": "k", "pannier.io/app-port": "3000", "pannier.io/callback-path": "/in?x=%20"`,
		"plain":    `"pannier.io/keyring-secret": "k", "pannier.io/native": "false"`,
	} {
		manifest := `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {"pannier.io/inject": "true", "pannier.io/agents": "acme/prod/a, acme/prod/b=poll", ` + extra + `}},
			"spec": {"containers": [{"name": "app", "image": "app"}]}}`
		cmd := exec.Command(binary(t), "inject", "-f", "-", "--image", "pannier:1.2")
		cmd.Stdin = strings.NewReader(manifest)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var pod core.Pod
		if err := json.Unmarshal(out, &pod); err != nil {
			t.Fatalf("%s: %v in %s", name, err, out)
		}
		cmd = exec.Command(binary(t), "config", "validate")
		cmd.Env = cleanEnv()
		for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			for _, e := range c.Env {
				value := strings.ReplaceAll(e.Value, "$(POD_IP)", "10.1.2.3")
				if strings.HasPrefix(value, "/etc/") {
					value = root + value
				}
				cmd.Env = append(cmd.Env, e.Name+"="+value)
			}
		}
		if len(cmd.Env) < 10 {
			t.Errorf("%s: the sidecar is told no more than %q", name, cmd.Env)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s\nin %q", name, err, out, cmd.Env)
		}
	}
}
