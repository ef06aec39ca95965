package main

import (
	"log/slog"

	"github.com/urfave/cli/v2"

	"pannier/cmd/plane"
	"pannier/proxy/controlplane"
	"pannier/proxy/kubernetes"
)

const kubernetesName = "kubernetes"

// cluster is what the command line says of the cluster.
type cluster struct {
	kubeconfig string
	namespaces cli.StringSlice
	source     *kubernetes.Source // nil: it is not among the sources
}

func (k *cluster) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kubeconfig", EnvVars: []string{"PANNIER_KUBECONFIG", "KUBECONFIG"}, Destination: &k.kubeconfig, Usage: "`FILE` that says where the API server is; unless said, the pod's own service account"},
		&cli.StringSliceFlag{Name: "namespace", EnvVars: []string{"PANNIER_NAMESPACE"}, Destination: &k.namespaces, Usage: "watch this `NAMESPACE` only (repeatable)"},
	}
}

// kind is the source of the cluster. It is believed after what an operator wrote to a
// file, and before what sidecars say of themselves.
func (k *cluster) kind() plane.Kind {
	return plane.Kind{Name: kubernetesName, Usage: kubernetesName, Bare: true, Open: func(_ []string, log *slog.Logger) (controlplane.Source, error) {
		config, err := kubernetes.Config(k.kubeconfig)
		if err != nil {
			return nil, err
		}
		k.source, err = kubernetes.New(config, k.namespaces.Value(), log)
		return k.source, err
	}}
}

func (k *cluster) prepare(*controlplane.Options) error { return nil }
