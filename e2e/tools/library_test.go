package tools

import (
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// anypod renders the chart that asks the library for a sidecar in a pod of any kind.
func anypod(t *testing.T, workload string) (string, error) {
	t.Helper()
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte("workload: "+workload), &values); err != nil {
		t.Fatalf("%v in %s", err, workload)
	}
	files, err := helm4.render(library(t), values, releaseOf("anypod", newest))
	return files["anypod/templates/pod.yaml"], err
}

// library returns a copy of the chart anypod with the library in it.
func library(t *testing.T) string {
	t.Helper()
	dir := t.TempDir() + "/anypod"
	copyTree(t, "testdata/anypod", dir)
	copyTree(t, "../../charts/pannier-lib", dir+"/charts/pannier-lib")
	return dir
}

// What cannot work is not rendered, and the sentence names what to change.
func TestLibraryRefuses(t *testing.T) {
	t.Parallel()
	const app = `spec: {containers: [{name: app, image: app}]}`
	const good = `agents: [acme/prod/orders], insecurePeer: true`
	for name, row := range map[string]struct{ workload, want string }{
		"no agents":                    {`{kind: Deployment, name: w, pannier: {insecurePeer: true}, ` + app + `}`, "pannier.agents: nothing says which agents"},
		"a bad agent":                  {`{kind: Deployment, name: w, pannier: {agents: ["acme//orders"], insecurePeer: true}, ` + app + `}`, `pannier.agents: "acme//orders" is not an agent; write ADDRESS`},
		"a bad binding":                {`{kind: Deployment, name: w, pannier: {agents: ["acme/orders=push"], insecurePeer: true}, ` + app + `}`, "is not an agent"},
		"an agent twice":               {`{kind: Deployment, name: w, pannier: {agents: [acme/orders, "agent://acme/orders=poll"], insecurePeer: true}, ` + app + `}`, "acme/orders is listed twice"},
		"no identity":                  {`{kind: Deployment, name: w, pannier: {agents: [acme/orders]}, ` + app + `}`, "nothing says how sidecars prove who they are; set one of pannier.tlsSecret"},
		"two identities":               {`{kind: Deployment, name: w, pannier: {agents: [acme/orders], spiffe: true, tlsSecret: x}, ` + app + `}`, "pannier.tlsSecret: set together with pannier.spiffe; take all but one out"},
		"the app on the sidecar's":     {`{kind: Deployment, name: w, pannier: {appPort: 7402, ` + good + `}, ` + app + `}`, "pannier.appPort: 7402 is a port of the sidecar"},
		"a drain as long as grace":     {`{kind: Deployment, name: w, pannier: {drainSeconds: 25, ` + good + `}, ` + app + `}`, "pannier.drainSeconds: 25, and 5 to close the journal in, are not less than terminationGracePeriodSeconds, which is 30"},
		"a drain beyond a said grace":  {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {terminationGracePeriodSeconds: 20, containers: [{name: app, image: app}]}}`, "which is 20"},
		"no grace":                     {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: app, image: app}]}}`, "which is 0"},
		"a drain of more than an hour": {`{kind: Deployment, name: w, pannier: {drainSeconds: 5000, ` + good + `}, spec: {terminationGracePeriodSeconds: 90000, containers: [{name: app, image: app}]}}`, "is not a number of seconds from 5 to 3600"},
		"no port":                      {`{kind: Deployment, name: w, pannier: {appPort: 70000, ` + good + `}, ` + app + `}`, "pannier.appPort: 70000 is not a port"},
		"no path":                      {`{kind: Deployment, name: w, pannier: {appPort: 80, callbackPath: cb, ` + good + `}, ` + app + `}`, "pannier.callbackPath: \"cb\" is not the path of a URL"},
		"no control plane":             {`{kind: Deployment, name: w, pannier: {controlPlane: "", ` + good + `}, ` + app + `}`, "pannier.controlPlane: empty"},
		"a word for native":            {`{kind: Deployment, name: w, pannier: {native: "false", ` + good + `}, ` + app + `}`, "pannier.native: false is neither true nor false"},
		"no drain":                     {`{kind: Deployment, name: w, pannier: {drainSeconds: 0, ` + good + `}, ` + app + `}`, "is not a number of seconds from 5 to 3600"},
		"a plain container in a Job":   {`{kind: Job, name: w, pannier: {native: false, ` + good + `}, ` + app + `}`, "pannier.native: false in a Job, which would never end"},
		"the node's network":           {`{kind: DaemonSet, name: w, pannier: {` + good + `}, spec: {hostNetwork: true, containers: [{name: app, image: app}]}}`, "spec.hostNetwork: true"},
		"Windows":                      {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {os: {name: windows}, containers: [{name: app, image: app}]}}`, "the sidecar runs on Linux"},
		"Windows by its nodes":         {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {nodeSelector: {kubernetes.io/os: windows}, containers: [{name: app, image: app}]}}`, "the sidecar runs on Linux"},
		"another called pannier":       {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {containers: [{name: pannier, image: app}]}}`, "one is called pannier and is not the sidecar; rename it"},
		"a port taken":                 {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {containers: [{name: app, image: app, ports: [{containerPort: 7400}]}]}}`, "app has port 7400, and the sidecar 7400 to 7403; move it"},
		"a shared claim":               {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {containers: [{name: app, image: app}], volumes: [{name: pannier-journal, persistentVolumeClaim: {claimName: x}}]}}`, "pannier-journal is a claim that two pods of a Deployment may have at once"},
		"a volume called as ours":      {`{kind: Deployment, name: w, pannier: {` + good + `}, spec: {containers: [{name: app, image: app}], volumes: [{name: pannier-tls, emptyDir: {}}]}}`, "pannier-tls is a name of the sidecar's; rename it"},
		"people in plain text":         {`{kind: Deployment, name: w, pannier: {peopleSecret: p, peopleURL: "http://x", ` + good + `}, ` + app + `}`, "pannier.peopleURL: \"http://x\" is not where browsers find the pages"},
		"a header of anybody":          {`{kind: Deployment, name: w, pannier: {peopleSecret: p, peopleURL: "https://x", peopleHeader: X-Email, ` + good + `}, ` + app + `}`, "pannier.peopleProxies: empty"},
		"a header for nobody":          {`{kind: Deployment, name: w, pannier: {peopleHeader: X-Email, ` + good + `}, ` + app + `}`, "pannier.peopleHeader: nobody may log in"},
		"the app on the people's":      {`{kind: Deployment, name: w, pannier: {appPort: 7404, peopleSecret: p, peopleURL: "https://x", ` + good + `}, ` + app + `}`, "7404 is the sidecar's port for people"},
		"a Service called as people's": {`{kind: Deployment, name: w, pannier: {peopleSecret: p, peopleURL: "https://x", agents: [acme/orders, acme/people], insecurePeer: true}, ` + app + `}`, "would both be called w-people"},
		"an unknown key":               {`{kind: Deployment, name: w, pannier: {agent: x, ` + good + `}, ` + app + `}`, "pannier.agent: unknown; known are agents, appPort"},
	} {
		text, err := anypod(t, row.workload)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want a refusal with %q; rendered is\n%s", name, err, row.want, text)
		}
	}
}

// All that is wrong is told at once.
func TestLibraryTellsAll(t *testing.T) {
	t.Parallel()
	_, err := anypod(t, `{kind: Job, name: w, pannier: {native: false}, spec: {hostNetwork: true, containers: [{name: pannier, image: app}]}}`)
	for _, want := range []string{"Job w cannot have a sidecar", "pannier.agents", "pannier.tlsSecret", "pannier.native", "spec.hostNetwork", "spec.containers"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

// What a pod brings is kept: its own volume for the journal, its own fsGroup.
func TestLibraryKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		workload  string
		volumes   int
		ephemeral bool
		group     int64
	}{
		"nothing":     {`{kind: Job, name: w, pannier: {agents: [a/b], insecurePeer: true}, spec: {containers: [{name: app, image: app}]}}`, 1, true, 65532},
		"an emptyDir": {`{kind: Job, name: w, pannier: {agents: [a/b], insecurePeer: true}, spec: {securityContext: {fsGroup: 7}, containers: [{name: app, image: app}], volumes: [{name: pannier-journal, emptyDir: {}}]}}`, 0, true, 7},
		"no source":   {`{kind: Job, name: w, pannier: {agents: [a/b], insecurePeer: true}, spec: {containers: [{name: app, image: app}], volumes: [{name: pannier-journal}]}}`, 0, true, 65532},
		"a host path": {`{kind: DaemonSet, name: w, pannier: {agents: [a/b], tlsSecret: x}, spec: {containers: [{name: app, image: app}], volumes: [{name: pannier-journal, hostPath: {path: /var/lib/pannier}}]}}`, 3, false, 65532},
		"a claim":     {`{kind: StatefulSet, name: w, pannier: {agents: [a/b], tlsSecret: x}, spec: {containers: [{name: app, image: app}]}}`, 2, false, 65532},
	} {
		text, err := anypod(t, row.workload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		object, err := decodeOne([]byte(text))
		if err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text)
			continue
		}
		pod := object.(*core.Pod)
		ephemeral := false
		for _, e := range pod.Spec.InitContainers[0].Env {
			ephemeral = ephemeral || e.Name == "PANNIER_EPHEMERAL"
		}
		if len(pod.Spec.Volumes) != row.volumes || ephemeral != row.ephemeral || *pod.Spec.SecurityContext.FSGroup != row.group {
			t.Errorf("%s: %d volumes, ephemeral %v, fsGroup %d; want %d, %v, %d in\n%s", name, len(pod.Spec.Volumes), ephemeral, *pod.Spec.SecurityContext.FSGroup, row.volumes, row.ephemeral, row.group, text)
		}
	}
}
