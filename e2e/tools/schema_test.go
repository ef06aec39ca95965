package tools

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Wrong values are refused before anything is rendered or after, but always with words
// that name the value.
func TestWrongValues(t *testing.T) {
	t.Parallel()
	for chart, rows := range map[string][]struct{ values, want, says string }{
		"pannier": {
			{`{}`, "StatefulSet billing", "nothing says how sidecars prove who they are"},
			{`{bogus: 1}`, "bogus", "additional"},
			{`{defaults: {pannier: {agent: [x]}}}`, "/defaults/pannier", "'agent'"},
			{`{defaults: {kind: DaemonSet}}`, "/defaults/kind", "must be one of"},
			{`{defaults: {replicas: "3"}}`, "/defaults/replicas", "want integer"},
			{`{defaults: {replicas: -1}}`, "/defaults/replicas", "minimum"},
			{`{defaults: {image: "has space"}}`, "/defaults/image", "pattern"},
			{`{defaults: {port: 70000}}`, "/defaults/port", "maximum"},
			{`{defaults: {imagePullPolicy: Sometimes}}`, "/defaults/imagePullPolicy", "must be one of"},
			{`{defaults: {command: /pannier}}`, "/defaults/command", "want array"},
			{`{defaults: {imagePullSecrets: [registry]}}`, "/defaults/imagePullSecrets/0", "want object"},
			{`{defaults: {terminationGracePeriodSeconds: 0}}`, "/defaults/terminationGracePeriodSeconds", "minimum"},
			{`{defaults: {podDisruptionBudget: "no"}}`, "/defaults/podDisruptionBudget", "want boolean"},
			{`{defaults: {pannier: {drainSeconds: 3}}}`, "/defaults/pannier/drainSeconds", "minimum"},
			{`{defaults: {pannier: {drainSeconds: 25, insecurePeer: true}}}`, "pannier.drainSeconds", "not less than terminationGracePeriodSeconds"},
			{`{defaults: {pannier: {journalSize: lots}}}`, "/defaults/pannier/journalSize", "pattern"},
			{`{defaults: {pannier: {memory: 128}}}`, "/defaults/pannier/memory", "want string"},
			{`{defaults: {pannier: {cpu: "0"}}}`, "/defaults/pannier/cpu", "pattern"},
			{`{defaults: {pannier: {controlPlane: nowhere}}}`, "/defaults/pannier/controlPlane", "pattern"},
			{`{defaults: {pannier: {callbackPath: intents}}}`, "/defaults/pannier/callbackPath", "pattern"},
			{`{defaults: {pannier: {peopleURL: "http://x"}}}`, "/defaults/pannier/peopleURL", "pattern"},
			{`{defaults: {pannier: {peopleProxies: ["0.0.0.0/0"]}}}`, "/defaults/pannier/peopleProxies/0", "pattern"},
			{`{defaults: {replicas: 2, pannier: {insecurePeer: true, peopleSecret: p, peopleURL: "https://x"}}}`, "pannier.peopleSecret with 2 replicas", "run one"},
			{`{defaults: {pannier: {spiffe: true, insecurePeer: true}}}`, "pannier.spiffe", "take all but one out"},
			{`{defaults: {pannier: {insecurePeer: true, tlsSecret: "Not a name"}}}`, "/defaults/pannier/tlsSecret", "pattern"},
			{`{apps: {billing: {pannier: {agents: ["acme/prod/billing=push"]}}}}`, "/apps/billing/pannier/agents/0", "pattern"},
			{`{apps: {Billing: {}}}`, "Billing", "pattern"},
			{`{apps: {pannier: {}}}`, "pannier", "not"},
			{`{networkPolicy: {enable: true}}`, "/networkPolicy", "'enable'"},
			{`{defaults: {pannier: {insecurePeer: true}}, apps: {billing: {replicas: 2, drain: [1]}}}`, "billing: drain: 1", "gone for good"},
			{`{defaults: {kind: Deployment, drain: [1], pannier: {insecurePeer: true}}}`, "drain: 1", "gone for good"},
			{`{networkPolicy: null}`, "networkPolicy", "missing"},
			{`{defaults: {serviceAccountName: "Not Valid!"}}`, "/defaults/serviceAccountName", "pattern"},
			{`{defaults: {env: [{name: A, val: b}]}}`, "/defaults/env/0", "'val'"},
			{`{defaults: {tolerations: [{keys: a}]}}`, "/defaults/tolerations/0", "'keys'"},
			{`{defaults: {resources: {limits: {memory: banana}}}}`, "/defaults/resources/limits/memory", "pattern"},
			{`{defaults: {image: "a:b:c@@"}}`, "/defaults/image", "pattern"},
			{`{defaults: {pannier: {config: a..b}}}`, "/defaults/pannier/config", "pattern"},
			{`{defaults: {pannier: {controlPlane: "h:99999"}}}`, "/defaults/pannier/controlPlane", "pattern"},
			{`{defaults: {pannier: {insecurePeer: true}}, apps: {billing: {pannier: {agents: [acme/prod/x, acme/prod/Big_Thing]}}}}`, "billing-Big_Thing", "no name of a Service"},
			{`{defaults: {pannier: {insecurePeer: true}}, apps: {billing: {pannier: {agents: [acme/x, acme/test/y, acme/dev/y]}}}}`, "billing-y", "would both be called"},
		},
		"pannier-control": {
			{`{}`, "identity", "nothing says how"},
			{`{identity: {insecure: true, spiffe: true}}`, "identity.spiffe", "set together with identity.insecure"},
			{`{identity: {insecure: true}, tokenReview: {enabled: true}}`, "tokenReview.enabled", "could take the tokens"},
			{`{identity: {insecure: true, mappings: {a: [agent://a/b]}}}`, "identity.mappings", "they map the names of certificates"},
			{`{identity: {tls: x}}`, "/identity", "'tls'"},
			{`{identity: {insecure: "yes"}}`, "/identity/insecure", "want boolean"},
			{`{name: Control}`, "/name", "pattern"},
			{`{replicas: 2.5}`, "/replicas", "want integer"},
			{`{namespaces: shop}`, "/namespaces", "want array"},
			{`{namespaces: [shop, shop]}`, "/namespaces", "are equal"},
			{`{namespaces: ["Shop"]}`, "/namespaces/0", "pattern"},
			{`{agents: {agent://a/b: []}}`, "/agents", "must be one of"},
			{`{tokenReview: {audience: ""}}`, "/tokenReview/audience", "pattern"},
			{`{podLabels: {app.kubernetes.io/name: other}}`, "app.kubernetes.io/name", "propertyName"},
			{`{injection: null}`, "injection", "missing"},
			{`{podMonitor: {interval: often}}`, "/podMonitor/interval", "pattern"},
			{`{podLabels: {team: 7}}`, "/podLabels/team", "want string"},
			{`{networkPolicy: {apiServerPorts: []}}`, "/networkPolicy/apiServerPorts", "minItems"},
			{`{dashboards: true}`, "/dashboards", "want object"},
			{`{rbac: {create: true}}`, "/rbac", "want boolean"},
			{`{serviceMonitor: {enabled: true}}`, "serviceMonitor", "additional"},
		},
	} {
		dir := complete(t, chart)
		for _, row := range rows {
			var values map[string]any
			if err := yaml.UnmarshalStrict([]byte(row.values), &values); err != nil {
				t.Fatal(err)
			}
			for _, h := range helms {
				_, err := h.render(dir, clone(t, values), releaseOf(chart, newest))
				if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), row.says) {
					t.Errorf("%s, %s with %s: %v, want %q and %q in it", h.name, chart, row.values, err, row.want, row.says)
				}
			}
		}
	}
}
