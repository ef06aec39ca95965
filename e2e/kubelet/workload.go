package kubelet

import (
	"fmt"
	"maps"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Replica is a pod of a StatefulSet, as its controller makes it: each claim is the
// ordinal's own, and outlives the pod.
func Replica(s *apps.StatefulSet, ordinal int) *v1.Pod {
	p := of(s.Namespace, fmt.Sprintf("%s-%d", s.Name, ordinal), &s.Spec.Template)
	p.Labels["statefulset.kubernetes.io/pod-name"] = p.Name
	for _, t := range s.Spec.VolumeClaimTemplates {
		source := v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: t.Name + "-" + p.Name}}
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: t.Name, VolumeSource: source})
	}
	return p
}

// Instance is a pod of a Deployment; n is in its name only.
func Instance(d *apps.Deployment, n int) *v1.Pod {
	return of(d.Namespace, fmt.Sprintf("%s-%d", d.Name, n), &d.Spec.Template)
}

// Attempt is a pod of a Job.
func Attempt(j *batch.Job, n int) *v1.Pod {
	return of(j.Namespace, fmt.Sprintf("%s-%d", j.Name, n), &j.Spec.Template)
}

func of(namespace, name string, t *v1.PodTemplateSpec) *v1.Pod {
	p := &v1.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
	p.ObjectMeta = meta.ObjectMeta{Namespace: namespace, Name: name, Labels: maps.Clone(p.Labels), Annotations: p.Annotations}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	return p
}
