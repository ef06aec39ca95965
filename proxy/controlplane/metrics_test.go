package controlplane_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"pannier/proxy/controlplane"
	"pannier/proxy/mesh"
)

// metrics asks for the page.
func (r *running) metrics() string {
	r.t.Helper()
	response, err := http.Get("http://" + r.info.Admin + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		r.t.Fatalf("metrics: %d, %v", response.StatusCode, err)
	}
	return string(text)
}

// What clients refuse is counted by type, and nothing they say of themselves is a
// label.
func TestMetrics(t *testing.T) {
	t.Parallel()
	plane := start(t, nil, newScripted("file", says(at(billing, "10.0.0.1:7401"))))
	c := plane.connect(sidecar("c4n4ry", mesh.Node{}))
	c.subscribe(mesh.TypeCluster, nil, "*")
	r, err := c.stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	c.refuse(r, "c4n4ry")
	c.subscribe("type.googleapis.com/c4n4ry", nil, "x")
	has := func(line string) func() bool {
		return func() bool { return strings.Contains(plane.metrics(), "\n"+line+"\n") }
	}
	eventually(t, "the refusal is counted", has(`pannier_control_plane_nacks_total{type="clusters"} 1`))
	for _, line := range []string{
		`pannier_control_plane_clients{protocol="delta"} 1`,
		`pannier_control_plane_clients{protocol="sotw"} 0`,
		`pannier_control_plane_resources{type="clusters"} 1`,
		`pannier_control_plane_source_synced{source="file"} 1`,
		`pannier_control_plane_source_agents{source="file"} 1`,
		`pannier_control_plane_nacks_total{type="other"} 0`,
		`pannier_control_plane_ready 1`,
	} {
		if !has(line)() {
			t.Errorf("no line %s", line)
		}
	}
	if page := plane.metrics(); strings.Contains(page, "c4n4ry") {
		t.Errorf("what a client says is on the page:\n%s", page)
	}
}

// The table of the README is made of what is on the page.
func TestReadmeOfMetrics(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := controlplane.Families.Rows(); !strings.Contains(string(readme), table) {
		t.Errorf("the table of metrics in the README is not:\n%s", table)
	}
}
