package tools

import (
	"errors"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
)

var helm4 = helm{
	name: "helm 4",
	lint: func(dir string, values map[string]any, kube string) error {
		version, err := common.ParseKubeVersion(kube)
		if err != nil {
			return err
		}
		var wrong []error
		for _, m := range lint.RunAll(dir, values, linted, lint.WithKubeVersion(version)).Messages {
			if m.Severity >= support.WarningSev {
				wrong = append(wrong, m)
			}
		}
		return errors.Join(wrong...)
	},
	render: func(dir string, values map[string]any, as release) (map[string]string, error) {
		version, err := common.ParseKubeVersion(as.kube)
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
		capabilities := common.DefaultCapabilities.Copy()
		capabilities.KubeVersion = *version
		capabilities.APIVersions = append(capabilities.APIVersions, as.apis...)
		all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: as.name, Namespace: as.namespace, Revision: 1, IsInstall: true}, capabilities)
		if err != nil {
			return nil, err
		}
		return engine.Render(chart, all)
	},
}
