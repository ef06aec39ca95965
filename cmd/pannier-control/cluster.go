package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"

	"pannier/cmd/plane"
	"pannier/proxy/controlplane"
	"pannier/proxy/hostport"
	"pannier/proxy/kubernetes"
)

const kubernetesName = "kubernetes"

// cluster is what the command line says of the cluster.
type cluster struct {
	kubeconfig string
	namespaces cli.StringSlice
	review     bool
	audience   string
	source     *kubernetes.Source // nil: it is not among the sources
}

func (k *cluster) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kubeconfig", EnvVars: []string{"PANNIER_KUBECONFIG", "KUBECONFIG"}, Destination: &k.kubeconfig, Usage: "`FILE` that says where the API server is; unless said, the pod's own service account"},
		&cli.StringSliceFlag{Name: "namespace", EnvVars: []string{"PANNIER_NAMESPACE"}, Destination: &k.namespaces, Usage: "watch this `NAMESPACE` only (repeatable)"},
		&cli.BoolFlag{Name: "token-review", EnvVars: []string{"PANNIER_TOKEN_REVIEW"}, Destination: &k.review, Usage: "let sidecars register what the tokens of their service accounts stand for, and nothing without one"},
		&cli.StringFlag{Name: "token-audience", EnvVars: []string{"PANNIER_TOKEN_AUDIENCE"}, Value: kubernetes.DefaultAudience, Destination: &k.audience, Usage: "what tokens must be for, a `NAME`"},
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

// prepare makes tokens who sidecars are, where that is wanted.
func (k *cluster) prepare(o *controlplane.Options) error {
	if !k.review {
		return nil
	}
	var registration *controlplane.Registration
	for _, s := range o.Sources {
		if r, ok := s.(*controlplane.Registration); ok {
			registration = r
		}
	}
	switch {
	case k.source == nil || registration == nil:
		return errors.New("token-review: it needs the sources kubernetes and registration")
	case k.audience == "":
		return errors.New("token-audience: empty; tokens for anybody are for nobody")
	case o.Trust == nil && !hostport.OnLoopback(o.Listen):
		return fmt.Errorf("token-review: %s is beyond loopback and the channel is plain text, in which whoever listens could take tokens; set tls_cert, tls_key and tls_ca, spiffe_socket, or keyring", o.Listen)
	}
	registration.Identify = k.source.Reviewer(k.audience).Identify
	return nil
}
