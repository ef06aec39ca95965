package admission

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// objects decodes a stream, strictly: a field that Kubernetes does not have is an error.
func objects(t *testing.T, stream []byte) (all []runtime.Object) {
	t.Helper()
	for d := range bytes.SplitSeq(stream, []byte("\n---\n")) {
		var kind struct {
			meta.TypeMeta `json:",inline"`
			Items         []runtime.RawExtension `json:"items"`
		}
		if err := yaml.Unmarshal(d, &kind); err != nil {
			t.Fatalf("%v, in\n%s", err, d)
		}
		if kind.Kind == "List" {
			for _, item := range kind.Items {
				all = append(all, objects(t, item.Raw)...)
			}
			continue
		}
		o, err := scheme.Scheme.New(schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind))
		if err != nil {
			t.Fatalf("%v, in\n%s", err, d)
		}
		if err := yaml.UnmarshalStrict(d, o); err != nil {
			t.Fatalf("%v, in\n%s", err, d)
		}
		all = append(all, o)
	}
	return all
}

// podOf is a pod as its controller makes it; nil for what has none.
func podOf(o runtime.Object) *core.Pod {
	made := func(t core.PodTemplateSpec, owner string) *core.Pod {
		p := &core.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
		p.Name, p.OwnerReferences = "of-"+strings.ToLower(owner)+"-0", []meta.OwnerReference{{Kind: owner, Name: "owner", Controller: new(true)}}
		return p
	}
	switch o := o.(type) {
	case *core.Pod:
		return o
	case *apps.Deployment:
		return made(o.Spec.Template, "ReplicaSet")
	case *apps.ReplicaSet:
		return made(o.Spec.Template, "ReplicaSet")
	case *apps.DaemonSet:
		return made(o.Spec.Template, "DaemonSet")
	case *core.ReplicationController:
		return made(*o.Spec.Template, "ReplicationController")
	case *batch.Job:
		return made(o.Spec.Template, "Job")
	case *batch.CronJob:
		return made(o.Spec.JobTemplate.Spec.Template, "Job")
	case *apps.StatefulSet:
		p := made(o.Spec.Template, "StatefulSet")
		var claims []core.Volume
		for _, c := range o.Spec.VolumeClaimTemplates {
			claims = append(claims, core.Volume{Name: c.Name, VolumeSource: core.VolumeSource{
				PersistentVolumeClaim: &core.PersistentVolumeClaimVolumeSource{ClaimName: c.Name + "-" + p.Name},
			}})
		}
		p.Spec.Volumes = append(claims, p.Spec.Volumes...)
		return p
	}
	return nil
}

func podsOf(t *testing.T, stream []byte) (all []*core.Pod) {
	t.Helper()
	for _, o := range objects(t, stream) {
		if p := podOf(o); p != nil {
			p.TypeMeta = meta.TypeMeta{APIVersion: "v1", Kind: "Pod"}
			all = append(all, p)
		}
	}
	return all
}

// show is a pod in one form, whatever the form of its quantities was.
func show(t *testing.T, p *core.Pod) string {
	t.Helper()
	text, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// served is a pod as it comes to the policies in a cluster: with defaults, and what the admission of service
// accounts has put in before.
func served(p *core.Pod) *core.Pod {
	p = p.DeepCopy()
	s := &p.Spec
	if s.TerminationGracePeriodSeconds == nil {
		s.TerminationGracePeriodSeconds = new(int64(30))
	}
	if s.SecurityContext == nil {
		s.SecurityContext = &core.PodSecurityContext{}
	}
	s.DNSPolicy, s.SchedulerName, s.ServiceAccountName = core.DNSClusterFirst, core.DefaultSchedulerName, "default"
	const access = "kube-api-access-x2x4z"
	s.Volumes = append(s.Volumes, core.Volume{Name: access, VolumeSource: core.VolumeSource{Projected: &core.ProjectedVolumeSource{DefaultMode: new(int32(0o644))}}})
	for _, containers := range [][]core.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			if c := &containers[i]; c.Name != "pannier" {
				c.TerminationMessagePath, c.ImagePullPolicy = core.TerminationMessagePathDefault, core.PullIfNotPresent
				c.VolumeMounts = append(c.VolumeMounts, core.VolumeMount{Name: access, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true})
			}
		}
	}
	return p
}

// sorted puts the volumes of a pod into one order: they have none.
func sorted(p *core.Pod) *core.Pod {
	slices.SortFunc(p.Spec.Volumes, func(a, b core.Volume) int { return strings.Compare(a.Name, b.Name) })
	return p
}
