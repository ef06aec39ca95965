package tools

import (
	"errors"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

var helm3 = helm{
	name: "helm 3",
	lint: func(dir string, values map[string]any, kube string) error {
		version, err := chartutil.ParseKubeVersion(kube)
		if err != nil {
			return err
		}
		var wrong []error
		for _, m := range lint.AllWithKubeVersion(dir, values, linted, version).Messages {
			if m.Severity >= support.WarningSev {
				wrong = append(wrong, m)
			}
		}
		return errors.Join(wrong...)
	},
	render: func(dir string, values map[string]any, as release) (map[string]string, error) {
		version, err := chartutil.ParseKubeVersion(as.kube)
		if err != nil {
			return nil, err
		}
		chart, err := loader.Load(dir)
		if err != nil {
			return nil, err
		}
		if err := chartutil.ProcessDependencies(chart, values); err != nil {
			return nil, err
		}
		capabilities := chartutil.DefaultCapabilities.Copy()
		capabilities.KubeVersion = *version
		capabilities.APIVersions = append(capabilities.APIVersions, as.apis...)
		all, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: as.name, Namespace: as.namespace, Revision: 1, IsInstall: true}, capabilities)
		if err != nil {
			return nil, err
		}
		return engine.Render(chart, all)
	},
}
