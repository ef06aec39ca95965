package kubelet

import (
	"cmp"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// An APIServer is one that pods are told of which have a token of their service account
// mounted.
type APIServer struct {
	Host, Port string
}

// AuthorityConfigMap has ca.crt, by which the API server's certificate is proved.
const AuthorityConfigMap = "kube-root-ca.crt"

const (
	accountVolume = "kube-api-access"
	accountPath   = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// Token is what pods with a service account show to an audience; none is the API server.
func Token(namespace, account, audience string) string {
	return strings.Join([]string{"token", audience, namespace, cmp.Or(account, "default")}, ".")
}

// tell gives a pod what admission gives one whose token is mounted: the variables, and the
// token and the authority in every container. (The file "namespace" is left out.)
func (n *Node) tell(p *v1.PodSpec) {
	if n.API == nil || p.AutomountServiceAccountToken != nil && !*p.AutomountServiceAccountToken {
		return
	}
	p.Volumes = append(p.Volumes, v1.Volume{Name: accountVolume, VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{
		Sources: []v1.VolumeProjection{
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}},
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: AuthorityConfigMap}}},
		},
	}}})
	for _, list := range [][]v1.Container{p.InitContainers, p.Containers} {
		for i := range list {
			c := &list[i]
			c.VolumeMounts = append(c.VolumeMounts, v1.VolumeMount{Name: accountVolume, MountPath: accountPath, ReadOnly: true})
			c.Env = append(c.Env, v1.EnvVar{Name: "KUBERNETES_SERVICE_HOST", Value: n.API.Host}, v1.EnvVar{Name: "KUBERNETES_SERVICE_PORT", Value: n.API.Port})
		}
	}
}
