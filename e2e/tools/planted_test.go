package tools

import (
	"strings"
	"testing"
)

// Each fault that is planted into what a chart gives is found.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ chart, set, was, is, want string }{
		// What strict reading finds.
		{"pannier", "default", "podManagementPolicy:", "podManagement:", `unknown field "spec.podManagement"`},
		{"pannier", "default", "replicas: 1\n", "replicas: 1\n  replicas: 1\n", "already set"},
		{"pannier", "default", "replicas: 1\n", "replicas: one\n", "cannot unmarshal"},
		{"pannier", "default", "apiVersion: policy/v1\n", "apiVersion: policy/v3\n", "is neither of Kubernetes"},
		{"pannier-control", "operator", "  podMetricsEndpoints:", "  podMetrics:", `unknown field "podMetrics"`},
		// What it does not.
		{"pannier", "default", "containerPort: 7401", "containerPort: 70000", "port 70000"},
		{"pannier", "default", "containerPort: 7401", "containerPort: 7403", "port 7403 is another's"},
		{"pannier", "default", "name: pannier-peer, containerPort", "name: pannier_peer, containerPort", "is no name of a port"},
		{"pannier", "default", "path: /readyz, port: pannier-health", "path: /readyz, port: health", "probes port health, which it does not have"},
		{"pannier", "default", "targetPort: 7401", "targetPort: 7404", "port 7404 is none of its pods'"},
		{"pannier", "default", "targetPort: 7401", "targetPort: pannier-peer", "port pannier-peer is none of its pods'"},
		{"pannier", "default", "name: pannier-journal, mountPath", "name: journal, mountPath", "mounts journal, which is not there"},
		{"pannier", "tls", "name: pannier-token, mountPath", "name: pannier-tls, mountPath", "nobody mounts volume pannier-token"},
		{"pannier", "tls", "defaultMode: 0440", "defaultMode: 0444", "readable for others"},
		{"pannier", "default", "cpu: \"25m\"", "cpu: \"-25m\"", "-25m of cpu"},
		{"pannier", "default", "memory: \"128Mi\"}\n            limits", "memory: \"256Mi\"}\n            limits", "asks for more memory than it may use"},
		{"pannier", "default", "limits: {memory: \"128Mi\"}", "limits: {memory: \"128\"}", "its unit is missing"},
		{"pannier", "default", "- name: POD_IP", "- name: IP_POD", "names POD_IP, which does not stand before it"},
		{"pannier", "default", "{name: PANNIER_PEER", "{name: PANNIER_AGENT", "PANNIER_AGENT is there twice"},
		{"pannier", "default", "drop: [ALL]", "drop: [KILL]", "it may do more than it needs"},
		{"pannier", "default", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "it may do more than it needs"},
		{"pannier", "default", "accessModes: [ReadWriteOncePod]", "accessModes: [ReadWriteMany]", "two pods may have it"},
		{"pannier", "default", "serviceName: \"billing\"", "serviceName: bill", "its Service bill is not there"},
		{"pannier", "default", "clusterIP: None\n", "publishNotReadyAddresses: true\n  clusterIP: None\n", "hides what drains"},
		{"pannier", "default", "  clusterIP: None\n", "", "not headless"},
		{"pannier", "default", "appProtocol: pannier.io/peer", "appProtocol: grpc", "no port pannier-peer of protocol"},
		{"pannier", "default", "pannier.io/agent: \"agent://", "pannier.io/agent: \"", "its agent is"},
		{"pannier", "default", "  name: \"billing\"\n", "  name: \"Billing\"\n", "name: ["},
		{"pannier", "default", "kind: PodDisruptionBudget\nmetadata:\n  name: \"billing\"", "kind: PodDisruptionBudget\nmetadata:\n  name: orders", "is there twice"},
		{"pannier", "default", "    matchLabels:\n      app.kubernetes.io/instance: shop\n      app.kubernetes.io/name: billing\n  template", "    matchLabels:\n      app.kubernetes.io/name: bill\n  template", "does not match its own pods"},
		{"pannier", "default", "restartPolicy: Always", "lifecycle: {preStop: {sleep: {seconds: 5}}}\n          restartPolicy: Always", "has a hook of its lifecycle"},
		{"pannier", "default", "name: PANNIER_DRAIN_SECONDS, value: \"20\"", "name: PANNIER_DRAIN_SECONDS, value: \"25\"", "drains for \"25\" s"},
		{"pannier", "default", "terminationGracePeriodSeconds: 30", "hostNetwork: true", "open to the node"},
		{"pannier", "default", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "is mounted"},
		{"pannier", "deployment", "{name: PANNIER_EPHEMERAL, value: \"true\"}", "{name: PANNIER_ZONE, value: a}", "PANNIER_EPHEMERAL is \"\""},
		{"pannier", "deployment", "emptyDir: {sizeLimit: \"1Gi\"}", "emptyDir: {}", "no sizeLimit"},
		{"pannier", "deployment", "emptyDir: {sizeLimit: \"1Gi\"}", "persistentVolumeClaim: {claimName: shared}", "a claim that pods share"},
		{"pannier", "network", "ports: [{port: 7401}]", "ports: [{port: pannier-peer}]", "port pannier-peer is none of its pods'"},
		{"pannier-control", "insecure", "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pannier-system-", "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ", "is not there"},
		{"pannier-control", "insecure", "serviceAccountName: \"pannier-control\"", "serviceAccountName: default", "no pod runs as pannier-control"},
		{"pannier-control", "operator", "{port: health, path", "{port: metrics, path", "port metrics is none of its pods'"},
		{"pannier-control", "insecure", "kind: PodDisruptionBudget\n", "kind: PodDisruptionBudget\n", ""},
	} {
		set := valueSetNamed(t, row.chart, row.set)
		text := render(t, complete(t, row.chart), set, set.values)
		if !strings.Contains(text, row.was) {
			t.Errorf("%s %s: no %q to be made %q", row.chart, row.set, row.was, row.is)
			continue
		}
		var found []string
		for _, err := range validate(strings.Replace(text, row.was, row.is, 1), newest) {
			found = append(found, err.Error())
		}
		if told := strings.Join(found, "\n"); row.want != "" && !strings.Contains(told, row.want) || row.want == "" && told != "" {
			t.Errorf("%s %s with %q: found is %q, want %q", row.chart, row.set, row.is, told, row.want)
		}
	}
}

func valueSetNamed(t *testing.T, chart, name string) valueSet {
	t.Helper()
	for _, set := range valueSets(t, chart) {
		if set.name == name {
			return set
		}
	}
	t.Fatalf("%s has no value set %s", chart, name)
	return valueSet{}
}
