package inject

import (
	"strconv"
	"strings"

	goyaml "github.com/goccy/go-yaml"
)

// object is a mapping in the order in which it is written.
type object = goyaml.MapSlice

func entry(key string, value any) goyaml.MapItem { return goyaml.MapItem{Key: key, Value: value} }

// addition is what is put into one mapping or list of a pod: entries that are not there, or items. Where
// the collection is not there either, it is made.
type addition struct {
	path    []string
	entries object
	items   []any
	first   bool // items go before those that are there
}

// content is what a new collection has.
func (a *addition) content() any {
	if a.entries != nil {
		return a.entries
	}
	return a.items
}

// additions are all that the pod lacks.
func (p *pod) additions(s settings) (all []addition) {
	sidecar := addition{path: []string{"spec", "initContainers"}, items: []any{p.container(s)}, first: true}
	if s.get(native) == "false" {
		sidecar.path, sidecar.first = []string{"spec", "containers"}, false
	}
	all = append(all, sidecar)
	if volumes := p.volumes(s); len(volumes) > 0 {
		all = append(all, addition{path: []string{"spec", "volumes"}, items: volumes})
	}
	context := mapping(p.spec, "securityContext")
	if context["fsGroup"] == nil {
		own := object{entry("fsGroup", user)}
		if context["fsGroupChangePolicy"] == nil {
			own = append(own, entry("fsGroupChangePolicy", "OnRootMismatch"))
		}
		all = append(all, addition{path: []string{"spec", "securityContext"}, entries: own})
	}
	if p.labels[meshLabel] == nil {
		all = append(all, addition{path: []string{"metadata", "labels"}, entries: object{entry(meshLabel, meshOn)}})
	}
	return all
}

func (p *pod) volumes(s settings) (all []any) {
	add := func(name, source string, v object) {
		all = append(all, object{entry("name", name), entry(source, v)})
	}
	if _, there := p.volume(journalVolume); !there && !p.claimed() {
		if s.has(journalClass) {
			add(journalVolume, "ephemeral", object{entry("volumeClaimTemplate", object{entry("spec", object{
				entry("accessModes", []any{"ReadWriteOncePod"}),
				entry("storageClassName", s.get(journalClass)),
				entry("resources", object{entry("requests", object{entry("storage", s.get(journalSize))})}),
			})})})
		} else {
			add(journalVolume, "emptyDir", object{entry("sizeLimit", s.get(journalSize))})
		}
	}
	if s.token() {
		add(tokenVolume, "projected", object{entry("sources", []any{object{entry("serviceAccountToken", object{
			entry("audience", "pannier"), entry("expirationSeconds", 3600), entry("path", "token"),
		})}})})
	}
	if s.has(tlsSecret) {
		add(tlsVolume, "secret", secret(s.get(tlsSecret)))
	}
	if s.has(keyringSecret) {
		add(keyringVolume, "secret", secret(s.get(keyringSecret)))
	}
	if s.get(spiffe) == "true" {
		add(spiffeVolume, "csi", object{entry("driver", "csi.spiffe.io"), entry("readOnly", true)})
	}
	if s.has(config) {
		add(configVolume, "configMap", object{entry("name", s.get(config))})
	}
	return all
}

// secret is readable for the sidecar's group, and for nobody else.
func secret(name string) object {
	return object{entry("secretName", name), entry("defaultMode", 0o440)}
}

func (p *pod) container(s settings) object {
	c := object{entry("name", container), entry("image", s.get(image)), entry("args", []any{"run"})}
	plain := s.get(native) == "false"
	if !plain {
		c = append(c, entry("restartPolicy", "Always"))
	}
	c = append(c,
		entry("env", p.environment(s)),
		entry("ports", []any{
			object{entry("name", peerPort), entry("containerPort", 7401)},
			object{entry("name", healthPort), entry("containerPort", 7403)},
		}),
		entry("startupProbe", probe("/startupz", 1, starting)),
		entry("readinessProbe", probe("/readyz", 5, 0)),
		entry("livenessProbe", probe("/healthz", 10, 6)),
	)
	if plain { // it is told to end together with the app, whose last words come later
		c = append(c, entry("lifecycle", object{entry("preStop", object{entry("sleep", object{entry("seconds", closing)})})}))
	}
	return append(c,
		entry("resources", object{
			entry("requests", object{entry("cpu", s.get(cpu)), entry("memory", s.get(memory))}),
			entry("limits", object{entry("memory", s.get(memory))}),
		}),
		entry("securityContext", object{
			entry("runAsNonRoot", true), entry("runAsUser", user), entry("runAsGroup", user),
			entry("readOnlyRootFilesystem", true), entry("allowPrivilegeEscalation", false),
			entry("capabilities", object{entry("drop", []any{"ALL"})}),
			entry("seccompProfile", object{entry("type", "RuntimeDefault")}),
		}),
		entry("volumeMounts", mounts(s)),
	)
}

// probe asks one of the health pages; failures of 0 leaves the threshold to Kubernetes.
func probe(page string, period, failures int) object {
	o := object{entry("httpGet", object{entry("path", page), entry("port", healthPort)}), entry("periodSeconds", period)}
	if failures > 0 {
		o = append(o, entry("failureThreshold", failures))
	}
	return o
}

func (p *pod) environment(s settings) (all []any) {
	add := func(name, value string) {
		all = append(all, object{entry("name", name), entry("value", value)})
	}
	// It stands first: a variable can name only those before it.
	all = append(all, object{entry("name", "POD_IP"), entry("valueFrom", object{entry("fieldRef", object{entry("fieldPath", "status.podIP")})})})
	add("PANNIER_AGENT", strings.Join(s.agents(), ","))
	add("PANNIER_JOURNAL", journalDir)
	if p.ephemeral() {
		add("PANNIER_EPHEMERAL", "true")
	}
	add("PANNIER_PEER", ":7401")
	add("PANNIER_ADVERTISE", "[$(POD_IP)]:7401")
	add("PANNIER_HEALTH", ":7403")
	seconds, _ := strconv.Atoi(s.get(drainSeconds)) // it was read before
	add("PANNIER_DRAIN_SECONDS", strconv.Itoa(seconds))
	if server := s.get(controlPlane); server != no {
		add("PANNIER_XDS", server)
	}
	if s.token() {
		add("PANNIER_XDS_TOKEN", tokenDir+"/token")
	}
	switch {
	case s.has(tlsSecret):
		add("PANNIER_TLS_CERT", tlsDir+"/tls.crt")
		add("PANNIER_TLS_KEY", tlsDir+"/tls.key")
		add("PANNIER_TLS_CA", tlsDir+"/ca.crt")
	case s.has(keyringSecret):
		add("PANNIER_KEYRING", keyringDir+"/keyring.yaml")
	case s.get(spiffe) == "true":
		add("PANNIER_SPIFFE_SOCKET", "unix://"+spiffeDir+"/spire-agent.sock")
	default:
		add("PANNIER_INSECURE_PEER", "true")
	}
	if s.has(config) {
		add("PANNIER_CONFIG", configDir+"/config.yaml")
	}
	return all
}

func mounts(s settings) (all []any) {
	all = append(all, object{entry("name", journalVolume), entry("mountPath", journalDir)})
	read := func(name, path string, there bool) {
		if there {
			all = append(all, object{entry("name", name), entry("mountPath", path), entry("readOnly", true)})
		}
	}
	read(tokenVolume, tokenDir, s.token())
	read(tlsVolume, tlsDir, s.has(tlsSecret))
	read(keyringVolume, keyringDir, s.has(keyringSecret))
	read(spiffeVolume, spiffeDir, s.get(spiffe) == "true")
	read(configVolume, configDir, s.has(config))
	return all
}
