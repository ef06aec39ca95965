package controlplane_test

import (
	"net/http"
	"testing"

	"pannier/proxy/controlplane"
)

// Who may reach no more than the health listener learns whether the control plane is
// ready, and its figures, and nothing of who its clients are.
func TestHealthListener(t *testing.T) {
	t.Parallel()
	source := newScripted("late")
	plane, ready := launch(t, func(o *controlplane.Options) { o.Admin, o.Health = freeAddress(t), freeAddress(t) }, source)
	probed := *plane
	probed.info.Admin = plane.info.Health
	eventually(t, "it answers", func() bool {
		r, err := http.Get("http://" + probed.info.Admin + "/healthz")
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	})
	if got := probed.get("/readyz", nil); got != http.StatusServiceUnavailable {
		t.Errorf("readyz is %d before its source has synced, want 503", got)
	}
	source.updates <- says()
	if info := <-ready; info.Health != probed.info.Admin {
		t.Errorf("the ready line says health %q, want %q", info.Health, probed.info.Admin)
	}
	for path, want := range map[string]int{"/readyz": 200, "/startupz": 200, "/metrics": 200, "/v1/admin/xds": 404, "/debug/pprof/": 404} {
		if got := probed.get(path, nil); got != want {
			t.Errorf("%s is %d, want %d", path, got, want)
		}
	}
}

func TestHealthIsAnAddress(t *testing.T) {
	t.Parallel()
	o := controlplane.DefaultOptions()
	o.Insecure, o.Sources, o.Health = true, []controlplane.Source{newScripted("s")}, "here"
	if _, err := controlplane.New(o); err == nil || err.Error() != `health: "here"; use HOST:PORT` {
		t.Errorf("%v", err)
	}
}
