package inject

import (
	"slices"
	"strings"

	"pannier/proxy/yaml"
)

// Prefix is that of all annotations.
const Prefix = "pannier.io/"

// The annotations of a pod, without their prefix.
const (
	asked         = "inject"
	agents        = "agents"
	appPort       = "app-port"
	callbackPath  = "callback-path"
	config        = "config"
	journalSize   = "journal-size"
	journalClass  = "journal-class"
	controlPlane  = "control-plane"
	tlsSecret     = "tls-secret"
	keyringSecret = "keyring-secret"
	spiffe        = "spiffe"
	insecurePeer  = "insecure-peer"
	native        = "native"
	drainSeconds  = "drain-seconds"
	memory        = "memory"
	cpu           = "cpu"
	image         = "image"
)

// names are all annotations, in the order in which they are told.
var names = []string{
	asked, agents, appPort, callbackPath, config, journalSize, journalClass, controlPlane, tlsSecret,
	keyringSecret, spiffe, insecurePeer, native, drainSeconds, memory, cpu, image,
}

// Names are those that a pod may be given, without their prefix.
func Names() []string { return names[1:] }

// DefaultControlPlane is where the chart puts it.
const DefaultControlPlane = "pannier-control.pannier-system.svc:7410"

// defaults are what annotations that are left out mean.
var defaults = map[string]string{
	callbackPath: "/",
	controlPlane: DefaultControlPlane,
	journalSize:  "1Gi",
	spiffe:       "false",
	insecurePeer: "false",
	native:       "true",
	drainSeconds: "20",
	memory:       "128Mi",
	cpu:          "25m",
}

// no is the control plane of a pod that has none.
const no = "none"

// settings are what is said of the sidecar of one pod.
type settings map[string]string

func (s settings) get(name string) string {
	if v, ok := s[name]; ok {
		return v
	}
	return defaults[name]
}

func (s settings) has(name string) bool { _, ok := s[name]; return ok }

// identities are the ways to prove who a sidecar is that are chosen.
func (s settings) identities() (chosen []string) {
	for _, name := range []string{tlsSecret, keyringSecret} {
		if s.has(name) {
			chosen = append(chosen, name)
		}
	}
	for _, name := range []string{spiffe, insecurePeer} {
		if s.get(name) == "true" {
			chosen = append(chosen, name)
		}
	}
	return chosen
}

// agents are those of the sidecar, as it is told them: those without a binding are sent to the app's port,
// if that is said.
func (s settings) agents() []string {
	list := strings.Split(s.get(agents), ",")
	for i, agent := range list {
		list[i] = strings.TrimSpace(agent)
		if s.has(appPort) && !strings.Contains(agent, "=") {
			list[i] += "=http:http://127.0.0.1:" + s.get(appPort) + s.get(callbackPath)
		}
	}
	return list
}

// token reports whether the control plane is shown the token of the pod's service account: only where a
// channel proves who is at its other end.
func (s settings) token() bool { return s.get(controlPlane) != no && s.get(insecurePeer) != "true" }

// unknown are annotations of ours that nobody reads, in order.
func unknown(annotations map[string]any) (out []string) {
	for key := range annotations {
		if name, ours := strings.CutPrefix(key, Prefix); ours && !slices.Contains(names, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func didYouMean(name string) string { return yaml.DidYouMean(name, names) }
