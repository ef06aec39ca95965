package inject

import (
	"slices"
	"strconv"
	"strings"
)

// What the sidecar is called, and what it has, in every pod.
const (
	container     = "pannier"
	journalVolume = "pannier-journal"
	tokenVolume   = "pannier-token"
	configVolume  = "pannier-config"
	tlsVolume     = "pannier-tls"
	keyringVolume = "pannier-keyring"
	spiffeVolume  = "pannier-spiffe"

	journalDir = "/var/lib/pannier"
	tokenDir   = "/var/run/secrets/pannier"
	configDir  = "/etc/pannier/config"
	tlsDir     = "/etc/pannier/tls"
	keyringDir = "/etc/pannier/keyring"
	spiffeDir  = "/run/spiffe"

	meshLabel = Prefix + "mesh"
	meshOn    = "enabled"

	peerPort, healthPort = "pannier-peer", "pannier-health"
	user                 = 65532 // and group, as of the image

	// starting is how many seconds the sidecar has until it is ready first. A start that goes on
	// without what a damaged journal has lost reads all that is left, and begins again if killed.
	starting = 900
	// closing is what the sidecar keeps of the time between SIGTERM and SIGKILL beside what it drains in,
	// to close its journal in; a plain container sleeps as long before it is told to end.
	closing = 5
	// defaultGrace is terminationGracePeriodSeconds where a pod says nothing.
	defaultGrace = 30
)

// pod is what a pod, or the template of pods, says that matters here. Fields of another type than
// Kubernetes has there count as not said: it refuses them itself, unless an older YAML than ours reads
// another type in them.
type pod struct {
	kind        string // of the object it is in, or it is
	object      map[string]any
	annotations map[string]any
	labels      map[string]any
	spec        map[string]any
}

func mapping(of map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		of, _ = of[k].(map[string]any)
	}
	return of
}

// list returns the items of a list that are mappings.
func list(of map[string]any, keys ...string) (out []map[string]any) {
	last := len(keys) - 1
	items, _ := mapping(of, keys[:last]...)[keys[last]].([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		out = append(out, m)
	}
	return out
}

func text(of map[string]any, keys ...string) string {
	last := len(keys) - 1
	s, _ := mapping(of, keys[:last]...)[keys[last]].(string)
	return s
}

// index is that of an item, as a part of a path.
func index(i int) string { return strconv.Itoa(i) }

// number returns an integer, or what it is where none is said.
func number(of map[string]any, key string, otherwise int) int {
	switch n := of[key].(type) {
	case uint64:
		return int(n)
	case int64:
		return int(n)
	}
	return otherwise
}

// templates says where in an object of a kind its pods are made from.
var templates = map[string][]string{
	"Pod":                   {},
	"Deployment":            {"spec", "template"},
	"ReplicaSet":            {"spec", "template"},
	"StatefulSet":           {"spec", "template"},
	"DaemonSet":             {"spec", "template"},
	"ReplicationController": {"spec", "template"},
	"Job":                   {"spec", "template"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template"},
}

func newPod(object map[string]any) *pod {
	kind := text(object, "kind")
	at := mapping(object, templates[kind]...)
	return &pod{
		kind: kind, object: object,
		annotations: mapping(at, "metadata", "annotations"), labels: mapping(at, "metadata", "labels"), spec: mapping(at, "spec"),
	}
}

// said are the settings of the pod: its annotations, unless the command line says otherwise.
func (p *pod) said(over map[string]string) settings {
	s := settings{}
	for key, v := range p.annotations {
		if name, ours := strings.CutPrefix(key, Prefix); ours {
			s[name], _ = v.(string)
		}
	}
	for name, v := range over {
		s[name] = v
	}
	return s
}

// containers are all, those that run first before the others.
func (p *pod) containers() []map[string]any {
	return append(list(p.spec, "initContainers"), list(p.spec, "containers")...)
}

// sidecar reports whether there is a container with our name, and whether it is ours: of any version and
// with any settings, but with our command and our journal.
func (p *pod) sidecar() (there, ours bool) {
	for _, c := range p.containers() {
		if text(c, "name") != container {
			continue
		}
		args, _ := c["args"].([]any)
		return true, slices.Equal(args, []any{"run"}) && slices.ContainsFunc(list(c, "volumeMounts"), func(m map[string]any) bool {
			return text(m, "name") == journalVolume && text(m, "mountPath") == journalDir
		})
	}
	return false, false
}

// volume is one of the pod's own.
func (p *pod) volume(name string) (map[string]any, bool) {
	for _, v := range list(p.spec, "volumes") {
		if text(v, "name") == name {
			return v, true
		}
	}
	return nil, false
}

// claimed reports whether each pod gets a journal of its own from its StatefulSet.
func (p *pod) claimed() bool {
	return p.kind == "StatefulSet" && slices.ContainsFunc(list(p.object, "spec", "volumeClaimTemplates"), func(c map[string]any) bool {
		return text(c, "metadata", "name") == journalVolume
	})
}

// ephemeral reports whether the journal ends with the pod.
func (p *pod) ephemeral() bool {
	v, there := p.volume(journalVolume)
	if !there {
		return !p.claimed()
	}
	sources := 0
	for key, source := range v {
		if key != "name" && source != nil {
			sources++
		}
	}
	return v["emptyDir"] != nil || v["ephemeral"] != nil || sources == 0 // which is an emptyDir, too
}

// job reports whether the pod is to end by itself.
func (p *pod) job() bool { return p.kind == "Job" || p.kind == "CronJob" }

// shared reports whether two pods may have the one claim that the journal is on.
func (p *pod) shared() bool {
	if v, _ := p.volume(journalVolume); v["persistentVolumeClaim"] == nil {
		return false
	}
	spec := mapping(p.object, "spec")
	switch p.kind {
	case "Pod":
		return false
	case "StatefulSet":
		return number(spec, "replicas", 1) > 1
	case "Job":
		return number(spec, "parallelism", 1) > 1
	case "CronJob":
		return text(spec, "concurrencyPolicy") != "Forbid" || number(mapping(spec, "jobTemplate", "spec"), "parallelism", 1) > 1
	}
	return true // also with one replica: the next pod starts before the last one has ended
}
