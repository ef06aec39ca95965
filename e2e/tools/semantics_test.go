package tools

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"pannier/proxy/kubernetes"
)

// A world is what one release puts into a cluster.
type world struct {
	objects []runtime.Object
	pods    []podTemplate
	kube    string
	wrong   []error
}

// A podTemplate is that of a workload.
type podTemplate struct {
	of     string
	claims []core.PersistentVolumeClaim
	meta.ObjectMeta
	core.PodSpec
}

// validate returns what is wrong with rendered objects: what an API server would refuse, and
// what it would take although it cannot work.
func validate(stream, kube string) []error {
	objects, err := decode(stream)
	if err != nil {
		return []error{err}
	}
	w := &world{objects: objects, kube: kube}
	seen := map[string]bool{}
	for _, o := range objects {
		w.collect(o)
		m := o.(meta.Object)
		key := title(o) + " in " + m.GetNamespace()
		w.check(!seen[key], o, "is there twice")
		seen[key] = true
		w.checkNames(o, m)
	}
	for _, p := range w.pods {
		w.checkPod(p)
	}
	for _, o := range objects {
		w.checkObject(o)
	}
	return w.wrong
}

func (w *world) check(ok bool, o runtime.Object, text string, args ...any) {
	if !ok {
		w.wrong = append(w.wrong, errors.New(title(o)+": "+fmt.Sprintf(text, args...)))
	}
}

func (w *world) collect(o runtime.Object) {
	add := func(t core.PodTemplateSpec, claims ...core.PersistentVolumeClaim) {
		w.pods = append(w.pods, podTemplate{title(o), claims, t.ObjectMeta, t.Spec})
	}
	match := func(selector *meta.LabelSelector, t core.PodTemplateSpec) {
		w.check(selector != nil && len(selector.MatchLabels) > 0 && matches(selector, t.Labels), o, "its selector does not match its own pods")
	}
	switch o := o.(type) {
	case *apps.Deployment:
		match(o.Spec.Selector, o.Spec.Template)
		add(o.Spec.Template)
	case *apps.StatefulSet:
		match(o.Spec.Selector, o.Spec.Template)
		add(o.Spec.Template, o.Spec.VolumeClaimTemplates...)
	case *apps.DaemonSet:
		match(o.Spec.Selector, o.Spec.Template)
		add(o.Spec.Template)
	case *batch.Job:
		add(o.Spec.Template)
	}
}

func matches(selector *meta.LabelSelector, l map[string]string) bool {
	s, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(l))
}

// anyPod reports whether a selector has pods in this release.
func (w *world) anyPod(selector *meta.LabelSelector) bool {
	return slices.ContainsFunc(w.pods, func(p podTemplate) bool { return matches(selector, p.Labels) })
}

func (w *world) checkNames(o runtime.Object, m meta.Object) {
	name := validation.IsDNS1123Label(m.GetName())
	if _, role := o.(*rbac.ClusterRole); role {
		name = nil // any path segment
	}
	w.check(len(name) == 0, o, "name: %v", name)
	for k, v := range m.GetLabels() {
		w.check(len(validation.IsQualifiedName(k)) == 0 && len(validation.IsValidLabelValue(v)) == 0, o, "label %s=%s is none", k, v)
	}
	for k := range m.GetAnnotations() {
		w.check(len(validation.IsQualifiedName(strings.ToLower(k))) == 0, o, "annotation %s is none", k)
	}
}

func (w *world) checkPod(p podTemplate) {
	say := func(ok bool, text string, args ...any) {
		if !ok {
			w.wrong = append(w.wrong, fmt.Errorf("%s: %s", p.of, fmt.Sprintf(text, args...)))
		}
	}
	volumes, names, ports := map[string]bool{}, map[string]bool{}, map[int32]bool{}
	for _, c := range p.claims {
		volumes[c.Name] = true
		checkQuantities(say, "claim "+c.Name, c.Spec.Resources.Requests)
		say(len(c.Spec.AccessModes) == 1 && c.Spec.AccessModes[0] == core.ReadWriteOncePod, "claim %s: two pods may have it", c.Name)
	}
	for _, v := range p.Volumes {
		say(!volumes[v.Name], "volume %s is there twice", v.Name)
		volumes[v.Name] = true
		say(v.PersistentVolumeClaim == nil || drains(p), "volume %s: a claim that pods share", v.Name)
		say(v.EmptyDir == nil || v.EmptyDir.SizeLimit != nil && v.EmptyDir.SizeLimit.Sign() > 0, "volume %s: no sizeLimit", v.Name)
		say(v.Secret == nil || v.Secret.DefaultMode != nil && *v.Secret.DefaultMode == 0o440, "volume %s: readable for others", v.Name)
	}
	used := map[string]bool{}
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		say(!names[c.Name] && len(validation.IsDNS1123Label(c.Name)) == 0, "container %q: no name, or there twice", c.Name)
		names[c.Name] = true
		for _, m := range c.VolumeMounts {
			say(volumes[m.Name], "container %s mounts %s, which is not there", c.Name, m.Name)
			used[m.Name] = true
		}
		for _, port := range c.Ports {
			say(port.ContainerPort > 0 && port.ContainerPort < 1<<16, "container %s: port %d", c.Name, port.ContainerPort)
			say(!ports[port.ContainerPort], "container %s: port %d is another's", c.Name, port.ContainerPort)
			ports[port.ContainerPort] = true
			say(len(validation.IsValidPortName(port.Name)) == 0, "container %s: %q is no name of a port", c.Name, port.Name)
		}
		checkContainer(say, p, c, w.kube)
	}
	for name := range volumes {
		say(used[name], "nobody mounts volume %s", name)
	}
	for _, s := range p.TopologySpreadConstraints {
		say(s.LabelSelector == nil || matches(s.LabelSelector, p.Labels), "it is spread among pods of which it is none")
	}
	if p.Labels[kubernetes.LabelMesh] != "" {
		checkSidecar(say, p)
	}
}

// tokens are what a variable's value may name of others.
var tokens = regexp.MustCompile(`\$\(([^)]*)\)`)

func checkContainer(say func(bool, string, ...any), p podTemplate, c core.Container, kube string) {
	say(c.Image != "" && !strings.ContainsAny(c.Image, " \n"), "container %s: image %q", c.Name, c.Image)
	checkQuantities(say, "container "+c.Name, c.Resources.Requests)
	checkQuantities(say, "container "+c.Name, c.Resources.Limits)
	for what, limit := range c.Resources.Limits {
		request, there := c.Resources.Requests[what]
		say(!there || request.Cmp(limit) <= 0, "container %s: asks for more %s than it may use", c.Name, what)
	}
	known := map[string]bool{}
	for _, e := range c.Env {
		say(!known[e.Name], "container %s: %s is there twice", c.Name, e.Name)
		for _, name := range tokens.FindAllStringSubmatch(e.Value, -1) {
			say(known[name[1]], "container %s: %s names %s, which does not stand before it", c.Name, e.Name, name[1])
		}
		known[e.Name] = true
	}
	for name, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			say(probe == nil, "container %s: %s asks for nothing", c.Name, name)
			continue
		}
		say(slices.ContainsFunc(c.Ports, func(port core.ContainerPort) bool {
			return probe.HTTPGet.Port == intstr.FromString(port.Name) || probe.HTTPGet.Port == intstr.FromInt32(port.ContainerPort)
		}), "container %s: %s probes port %s, which it does not have", c.Name, name, probe.HTTPGet.Port.String())
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil {
		say(kube != oldest, "container %s: Kubernetes %s cannot sleep before a stop", c.Name, kube)
	}
	say(c.SecurityContext != nil, "container %s: no securityContext", c.Name)
	if s := c.SecurityContext; s != nil {
		seccomp := s.SeccompProfile != nil || p.SecurityContext != nil && p.SecurityContext.SeccompProfile != nil
		nonRoot := is(s.RunAsNonRoot) || p.SecurityContext != nil && is(p.SecurityContext.RunAsNonRoot)
		drops := s.Capabilities != nil && slices.Contains(s.Capabilities.Drop, "ALL")
		say(is(s.ReadOnlyRootFilesystem) && s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation && seccomp && nonRoot && drops,
			"container %s: it may do more than it needs: %+v", c.Name, *s)
	}
}

func is(b *bool) bool { return b != nil && *b }

func checkQuantities(say func(bool, string, ...any), whose string, list core.ResourceList) {
	for what, amount := range list {
		say(amount.Sign() > 0, "%s: %s of %s", whose, amount.String(), what)
		say(what != core.ResourceMemory || amount.Cmp(resource.MustParse("16Mi")) >= 0, "%s: %s of memory is too little, or its unit is missing", whose, amount.String())
	}
}

// sidecarPorts are those of every sidecar: no container of the pod can have them.
var sidecarPorts = []int32{7400, 7401, 7402, 7403}

// checkSidecar checks what a pod of the mesh must be like, however it came by its sidecar.
func checkSidecar(say func(bool, string, ...any), p podTemplate) {
	var found []core.Container
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		if c.Name == "pannier" {
			found = append(found, c)
			continue
		}
		for _, port := range c.Ports {
			say(!slices.Contains(sidecarPorts, port.ContainerPort), "container %s has the sidecar's port %d", c.Name, port.ContainerPort)
		}
	}
	say(len(found) == 1, "%d sidecars", len(found))
	if len(found) != 1 {
		return
	}
	sidecar := found[0]
	native := sidecar.RestartPolicy != nil && *sidecar.RestartPolicy == core.ContainerRestartPolicyAlways
	if native {
		say(p.InitContainers[0].Name == sidecar.Name && sidecar.Lifecycle == nil, "the native sidecar is not first, or has a hook of its lifecycle")
	} else {
		say(p.Containers[len(p.Containers)-1].Name == sidecar.Name, "the plain sidecar is not last")
	}
	env := map[string]string{}
	for _, e := range sidecar.Env {
		env[e.Name] = e.Value
	}
	say(is(p.AutomountServiceAccountToken) == false && p.AutomountServiceAccountToken != nil, "the token of its service account is mounted")
	say(p.SecurityContext != nil && p.SecurityContext.FSGroup != nil, "no fsGroup: the journal's volume may be root's")
	if drains(p) {
		say(env["PANNIER_AGENT"] == "" && env["PANNIER_EPHEMERAL"] == "", "it drains a journal, and serves %q", env["PANNIER_AGENT"])
		return
	}
	ephemeral := !slices.ContainsFunc(p.claims, func(c core.PersistentVolumeClaim) bool { return c.Name == "pannier-journal" })
	say((env["PANNIER_EPHEMERAL"] == "true") == ephemeral, "PANNIER_EPHEMERAL is %q", env["PANNIER_EPHEMERAL"])
	say(!p.HostNetwork, "the app API is open to the node")
	grace := int64(30)
	if p.TerminationGracePeriodSeconds != nil {
		grace = *p.TerminationGracePeriodSeconds
	}
	var drain int64
	if _, err := fmt.Sscan(env["PANNIER_DRAIN_SECONDS"], &drain); err != nil || drain+5 >= grace {
		say(false, "drains for %q s (%v) of %d", env["PANNIER_DRAIN_SECONDS"], err, grace)
	}
}

// drains reports whether a pod only empties the journal of one that is gone for good.
func drains(p podTemplate) bool {
	return strings.HasPrefix(p.of, "Job/") && len(p.Containers) == 1 && slices.Equal(p.Containers[0].Args, []string{"drain"})
}

func (w *world) checkObject(o runtime.Object) {
	switch o := o.(type) {
	case *apps.StatefulSet:
		w.check(slices.ContainsFunc(w.objects, func(other runtime.Object) bool {
			s, ok := other.(*core.Service)
			return ok && s.Name == o.Spec.ServiceName && s.Spec.ClusterIP == core.ClusterIPNone
		}), o, "its Service %s is not there, or not headless", o.Spec.ServiceName)
	case *core.Service:
		w.checkService(o)
	case *policy.PodDisruptionBudget:
		w.check(w.anyPod(o.Spec.Selector), o, "it has no pods")
		w.check((o.Spec.MaxUnavailable == nil) != (o.Spec.MinAvailable == nil), o, "says neither or both of maxUnavailable and minAvailable")
	case *networking.NetworkPolicy:
		w.check(w.anyPod(&o.Spec.PodSelector), o, "it has no pods")
		for _, rule := range o.Spec.Ingress {
			for _, port := range rule.Ports {
				w.check(port.Port == nil || w.hasPort(&o.Spec.PodSelector, *port.Port), o, "port %s is none of its pods'", port.Port)
			}
		}
	case *rbac.ClusterRoleBinding:
		w.checkBinding(o, "", o.RoleRef, o.Subjects)
	case *rbac.RoleBinding:
		w.checkBinding(o, o.Namespace, o.RoleRef, o.Subjects)
	case *PodMonitor:
		w.check(o.Spec.Selector.MatchLabels[kubernetes.LabelMesh] != "" || w.anyPod(&o.Spec.Selector), o, "it has no pods")
		for _, e := range o.Spec.Endpoints {
			// Prometheus looks at init containers, too.
			w.check(e.Port == "pannier-health" || w.hasPort(&o.Spec.Selector, intstr.FromString(e.Port)), o, "port %s is none of its pods'", e.Port)
		}
	}
}

// hasPort reports whether the pods have a port. Until 1.33 one of an init container is not
// found by its name, in a Service, and with many a network it still is not in a NetworkPolicy.
func (w *world) hasPort(selector *meta.LabelSelector, want intstr.IntOrString) bool {
	for _, p := range w.pods {
		for i, c := range slices.Concat(p.Containers, p.InitContainers) {
			named := i < len(p.Containers)
			for _, port := range c.Ports {
				if matches(selector, p.Labels) && (named && want == intstr.FromString(port.Name) || want == intstr.FromInt32(port.ContainerPort)) {
					return true
				}
			}
		}
	}
	return false
}

func (w *world) checkService(s *core.Service) {
	selector := &meta.LabelSelector{MatchLabels: s.Spec.Selector}
	w.check(len(s.Spec.Selector) > 0 && w.anyPod(selector), s, "it has no pods")
	for _, p := range w.pods {
		w.check(!drains(p) || !matches(selector, p.Labels), s, "it leads to %s, which serves nobody", p.of)
	}
	for _, port := range s.Spec.Ports {
		w.check(port.Port > 0 && port.Port < 1<<16, s, "port %d", port.Port)
		w.check(w.hasPort(selector, port.TargetPort), s, "port %s is none of its pods'", port.TargetPort.String())
	}
	if s.Labels[kubernetes.LabelMesh] != kubernetes.MeshEnabled {
		return
	}
	w.check(!s.Spec.PublishNotReadyAddresses, s, "publishNotReadyAddresses hides what drains")
	w.check(s.Spec.ClusterIP == core.ClusterIPNone, s, "not headless")
	w.check(strings.HasPrefix(s.Annotations[kubernetes.AnnotationAgent], "agent://"), s, "its agent is %q", s.Annotations[kubernetes.AnnotationAgent])
	w.check(slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool {
		return p.Name == kubernetes.PortName && p.AppProtocol != nil && *p.AppProtocol == kubernetes.AppProtocol
	}), s, "no port %s of protocol %s", kubernetes.PortName, kubernetes.AppProtocol)
}

func (w *world) checkBinding(o runtime.Object, ns string, ref rbac.RoleRef, subjects []rbac.Subject) {
	w.check(slices.ContainsFunc(w.objects, func(other runtime.Object) bool {
		m := other.(meta.Object)
		return other.GetObjectKind().GroupVersionKind().Kind == ref.Kind && m.GetName() == ref.Name && m.GetNamespace() == ns
	}), o, "its %s %s is not there", ref.Kind, ref.Name)
	for _, s := range subjects {
		w.check(slices.ContainsFunc(w.pods, func(p podTemplate) bool { return p.ServiceAccountName == s.Name }), o, "no pod runs as %s", s.Name)
	}
}
