package inject

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// refusal is what is wrong with one thing that a pod says.
type refusal struct {
	path []string // of it, within the pod
	key  string   // how it is named: the annotation, or the field
	text string
}

// Patterns of what annotations say. The admission policy has the same ones; those of agents and of hosts
// take what the sidecar itself takes.
const (
	portPattern    = `([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])`
	pathPattern    = `/([^\s#,%$]|%[0-9A-Fa-f]{2})*`
	segmentPattern = `(\.*[A-Za-z0-9_~@+-][A-Za-z0-9._~@+-]*|\.{3,})`
	addressPattern = `([a-z0-9+.-]+://)?` + segmentPattern + `(/` + segmentPattern + `)*`
	urlPattern     = `https?://[A-Za-z0-9._-]+(:` + portPattern + `)?(` + pathPattern + `)?`
	hostPattern    = `(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)`
	namePattern    = `[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*`
)

var (
	agentForm  = regexp.MustCompile(`^` + addressPattern + `(=(poll|stream|inbox|http:` + urlPattern + `))?$`)
	portForm   = regexp.MustCompile(`^` + portPattern + `$`)
	pathForm   = regexp.MustCompile(`^` + pathPattern + `$`)
	serverForm = regexp.MustCompile(`^(none|` + hostPattern + `:` + portPattern + `)$`)
	nameForm   = regexp.MustCompile(`^` + namePattern + `$`)
	bytesForm  = regexp.MustCompile(`^[0-9]*[1-9][0-9]*(k|M|G|T|Ki|Mi|Gi|Ti)?$`)
	cpuForm    = regexp.MustCompile(`^([0-9]*[1-9][0-9]*m?|[0-9]+\.[0-9]{0,2}[1-9])$`)
	drainForm  = regexp.MustCompile(`^([5-9]|[1-9][0-9]{1,2}|[1-2][0-9]{3}|3[0-5][0-9]{2}|3600)$`)
	imageForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)
	boolForm   = regexp.MustCompile(`^(true|false)$`)
)

// maxAddress is the longest address that a sidecar takes.
const maxAddress = 383

// forms say what an annotation must look like, in the order in which they are told.
var forms = []struct {
	name string
	form *regexp.Regexp
	want string
}{
	{asked, boolForm, `neither "true" nor "false"`},
	{appPort, portForm, "not a port from 1 to 65535"},
	{callbackPath, pathForm, "not the path of a URL; begin it with /"},
	{config, nameForm, "not the name of a ConfigMap"},
	{journalSize, bytesForm, "not a size such as 1Gi or 500Mi"},
	{journalClass, nameForm, "not the name of a storage class"},
	{controlPlane, serverForm, `not HOST:PORT, nor "none"`},
	{tlsSecret, nameForm, "not the name of a Secret"},
	{keyringSecret, nameForm, "not the name of a Secret"},
	{spiffe, boolForm, `neither "true" nor "false"`},
	{insecurePeer, boolForm, `neither "true" nor "false"`},
	{native, boolForm, `neither "true" nor "false"`},
	{drainSeconds, drainForm, "not a number of seconds from 5 to 3600"},
	{memory, bytesForm, "not a size such as 128Mi"},
	{cpu, cpuForm, "not an amount such as 25m or 0.5"},
	{image, imageForm, "not the name of an image"},
}

// refusals are all that is wrong with the pod, and with what is said of its sidecar.
func (p *pod) refusals(s settings) (all []refusal) {
	return append(p.wrongSettings(s), p.wrongPod(s)...)
}

func (p *pod) wrongSettings(s settings) (all []refusal) {
	say := func(name, text string, args ...any) {
		all = append(all, refusal{[]string{"metadata", "annotations", Prefix + name}, Prefix + name, fmt.Sprintf(text, args...)})
	}
	for _, name := range unknown(p.annotations) {
		say(name, "unknown%s; known are %s", didYouMean(name), strings.Join(names, ", "))
	}
	for _, name := range names {
		if v, there := p.annotations[Prefix+name]; there {
			if _, ok := v.(string); !ok {
				say(name, "no string: write it in quotes")
				s[name] = defaults[name] // it has been told, and need not be of a wrong form as well
				if s[name] == "" {
					delete(s, name)
				}
			}
		}
	}
	all = append(all, p.wrongAgents(s)...)
	for _, f := range forms {
		if s.has(f.name) && !f.form.MatchString(s[f.name]) {
			say(f.name, "%q is %s", s[f.name], f.want)
		}
	}
	if s.has(callbackPath) && !s.has(appPort) {
		say(callbackPath, "of no use without %s%s; add that", Prefix, appPort)
	}
	if port, _ := strconv.Atoi(s.get(appPort)); port >= firstPort && port <= lastPort {
		say(appPort, "%d is a port of the sidecar, which has %d to %d; move the app", port, firstPort, lastPort)
	}
	switch chosen := s.identities(); len(chosen) {
	case 0:
		say(tlsSecret, "nothing says how sidecars prove who they are; set one of %s", Prefix+strings.Join(identityNames, ", "+Prefix))
	case 1:
	default:
		say(chosen[0], "set together with %s; take all but one out", Prefix+strings.Join(chosen[1:], ", "+Prefix))
	}
	if !s.has(image) {
		say(image, "nothing says which image the sidecar has; set it")
	}
	if s.get(native) == "false" && p.job() {
		say(native, `"false" in a Job, which would never end; take it out`)
	}
	grace := number(p.spec, "terminationGracePeriodSeconds", defaultGrace)
	if drain, err := strconv.Atoi(s.get(drainSeconds)); err == nil && drainForm.MatchString(s.get(drainSeconds)) && drain+closing >= grace {
		say(drainSeconds, "%d, and %d to close the journal in, are not less than terminationGracePeriodSeconds, which is %d; lower it or raise that", drain, closing, grace)
	}
	return all
}

var identityNames = []string{tlsSecret, keyringSecret, spiffe, insecurePeer}

func (p *pod) wrongAgents(s settings) (all []refusal) {
	say := func(text string, args ...any) {
		all = append(all, refusal{[]string{"metadata", "annotations", Prefix + agents}, Prefix + agents, fmt.Sprintf(text, args...)})
	}
	if strings.TrimSpace(s.get(agents)) == "" {
		say("nothing says which agents the pod serves; set it, such as agent://acme/prod/orders, several with commas")
		return all
	}
	seen := map[string]bool{}
	for word := range strings.SplitSeq(s.get(agents), ",") {
		word = strings.TrimSpace(word)
		address, _, _ := strings.Cut(word, "=")
		address = strings.TrimPrefix(address, "agent://")
		switch {
		case !agentForm.MatchString(word) || len(address) > maxAddress-len("agent://"):
			say("%q is not an agent; write ADDRESS, or ADDRESS=poll, =stream, =inbox or =http:URL", word)
		case seen[address]:
			say("%s is listed twice; take one out", address)
		}
		seen[address] = true
	}
	return all
}

// The ports of the sidecar: app API, peer, admin, health.
const firstPort, lastPort = 7400, 7403

func (p *pod) wrongPod(s settings) (all []refusal) {
	say := func(key, text string, args ...any) {
		all = append(all, refusal{strings.Split(key, "."), key, fmt.Sprintf(text, args...)})
	}
	// kubectl reads the YAML of old, in which yes is true, and 0x1e and 1_0 are numbers.
	switch on := p.spec["hostNetwork"].(type) {
	case nil:
	case bool:
		if on {
			say("spec.hostNetwork", "true: the app API, which asks for no key, would be open to the whole node; take it out")
		}
	default:
		say("spec.hostNetwork", "%v is neither true nor false; write one of these, or take it out", on)
	}
	if v, word := p.spec["terminationGracePeriodSeconds"].(string); word {
		say("spec.terminationGracePeriodSeconds", "%q is no number; write it in digits, without quotes", v)
	}
	if text(p.spec, "os", "name") == "windows" {
		say("spec.os.name", "windows: the sidecar runs on Linux; leave the pod without it")
	}
	if text(p.spec, "nodeSelector", "kubernetes.io/os") == "windows" {
		say("spec.nodeSelector", "kubernetes.io/os is windows: the sidecar runs on Linux; leave the pod without it")
	}
	if v := p.labels[meshLabel]; v != nil && v != meshOn {
		say("metadata.labels", "%s is not %q; take it out", meshLabel, meshOn)
	}
	if there, ours := p.sidecar(); there && !ours {
		say("spec.containers", "one is called %s and is not the sidecar; rename it", container)
	}
	for _, c := range p.containers() {
		if text(c, "name") == container {
			continue
		}
		for _, one := range list(c, "ports") {
			if port := number(one, "containerPort", 0); port >= firstPort && port <= lastPort {
				say("spec.containers", "%s has port %d, and the sidecar %d to %d; move it", text(c, "name"), port, firstPort, lastPort)
			}
		}
	}
	if p.shared() {
		say("spec.volumes", "%s is a claim that two pods may have at once; take a StatefulSet with volumeClaimTemplates, or %s%s", journalVolume, Prefix, journalClass)
	}
	for _, name := range []string{tokenVolume, configVolume, tlsVolume, keyringVolume, spiffeVolume} {
		if _, there := p.volume(name); there {
			say("spec.volumes", "%s is a name of the sidecar's; rename it", name)
		}
	}
	return all
}
