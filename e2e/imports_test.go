package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// importRule forbids direct imports. A name stands for the package and all below it.
type importRule struct {
	in      []string // the packages it is about; none: all of ours
	except  []string // those of them it is not about
	forbids []string
	inTests bool // tests too
	why     string
	plant   [2]string // an import it must refuse: package, imported
}

var importRules = []importRule{
	{
		in: []string{"pannier/journal"}, inTests: true,
		forbids: []string{"pannier/inbound", "pannier/outbound", "pannier/proxy", "pannier/cmd", "pannier/e2e"},
		why:     "the journal is the ground: it must be understood, tested and repaired without anything above it",
		plant:   [2]string{"pannier/journal/state", "pannier/proxy/api"},
	},
	{
		in: []string{"pannier/inbound"}, inTests: true,
		forbids: []string{"pannier/outbound", "pannier/proxy", "pannier/cmd", "pannier/e2e"},
		why:     "holder and home are two roles that meet only in the journal and in what proxy wires; else a loop between them grows unseen",
		plant:   [2]string{"pannier/inbound", "pannier/outbound"},
	},
	{
		in: []string{"pannier/outbound"}, inTests: true,
		forbids: []string{"pannier/inbound", "pannier/proxy", "pannier/cmd", "pannier/e2e"},
		why:     "home and holder are two roles that meet only in the journal and in what proxy wires; else a loop between them grows unseen",
		plant:   [2]string{"pannier/outbound", "pannier/inbound"},
	},
	{
		in: []string{"pannier/proxy"}, inTests: true,
		forbids: []string{"pannier/cmd", "pannier/e2e"},
		why:     "a sidecar must be startable as a value, by a test or another program, without a command line",
		plant:   [2]string{"pannier/proxy", "pannier/cmd/pannier"},
	},
	{
		in: []string{"pannier/cmd"}, inTests: true,
		forbids: []string{"pannier/inbound", "pannier/outbound", "pannier/e2e"},
		why:     "proxy alone wires the parts; a command that reaches past it would wire them a second way",
		plant:   [2]string{"pannier/cmd/pannier", "pannier/inbound"},
	},
	{
		except: []string{"pannier/journal"}, inTests: true,
		forbids: []string{"github.com/dgraph-io/badger", "github.com/dgraph-io/ristretto"},
		why:     "the promise rests on one committer with one set of store options; whoever else opened the store could break it",
		plant:   [2]string{"pannier/outbound", "github.com/dgraph-io/badger/v4"},
	},
	{
		except: []string{"pannier/cmd"}, inTests: true,
		forbids: []string{"github.com/urfave/cli"},
		why:     "flags end in cmd, where they are bound to Options; below it there is only the struct",
		plant:   [2]string{"pannier/proxy", "github.com/urfave/cli/v2"},
	},
	{
		except: []string{"pannier/proxy"}, inTests: true,
		forbids: []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters", "go.opentelemetry.io/contrib", "github.com/envoyproxy/go-control-plane"},
		why:     "where telemetry goes and where discovery comes from is decided once per process; the rest sees the API or an interface",
		plant:   [2]string{"pannier/inbound", "go.opentelemetry.io/otel/sdk/trace"},
	},
	{
		in:      []string{"pannier/proxy"},
		except:  []string{"pannier/proxy/mesh", "pannier/proxy/xds", "pannier/proxy/controlplane"},
		forbids: []string{"github.com/envoyproxy/go-control-plane"},
		why:     "mesh turns Envoy's resources into our terms and back, once; who needs more than that reads resources a second way",
		plant:   [2]string{"pannier/proxy/admin", "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"},
	},
	{
		forbids: []string{"github.com/envoyproxy/go-control-plane/envoy/admin", "github.com/envoyproxy/go-control-plane/envoy/service/status"},
		why:     "they bring Envoy's bootstrap and all it names, 1.4 MB of every sidecar; what of them a client says is in proxy/xds/csds",
		plant:   [2]string{"pannier/proxy/xds", "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"},
	},
	{
		in: []string{"pannier/proxy/controlplane", "pannier/proxy/mesh"}, inTests: true,
		forbids: []string{"pannier/journal", "pannier/inbound", "pannier/proxy/xds"},
		why:     "a control plane keeps nothing and serves clients nobody here wrote; what it shares with a sidecar is proxy/mesh",
		plant:   [2]string{"pannier/proxy/controlplane", "pannier/journal"},
	},
	{
		in: []string{"pannier/journal"}, forbids: []string{"net/http", "log/slog", "go.opentelemetry.io/otel"},
		why:   "the journal knows no protocol and no exporter; it reports through the funcs in its options",
		plant: [2]string{"pannier/journal", "net/http"},
	},
	{
		in: []string{"pannier/journal"}, except: []string{"pannier/journal/wire/peer"}, inTests: true,
		forbids: []string{"google.golang.org/grpc"},
		why:     "only the frames between sidecars are gRPC's; records on disk must be readable without it",
		plant:   [2]string{"pannier/journal/wire", "google.golang.org/grpc"},
	},
	{
		except: []string{"pannier/proxy/identity"}, inTests: true,
		forbids: []string{"github.com/spiffe/go-spiffe"},
		why:     "who a peer is must be asked of one package, whatever proves it; the rest sees agents",
		plant:   [2]string{"pannier/inbound", "github.com/spiffe/go-spiffe/v2/spiffeid"},
	},
	{
		except: []string{"pannier/proxy/kubernetes", "pannier/cmd/pannier-control", "pannier/e2e"}, inTests: true,
		forbids: []string{"k8s.io"},
		why:     "what a cluster says is one source of many; a sidecar carries nothing of its API",
		plant:   [2]string{"pannier/proxy/controlplane", "k8s.io/api/core/v1"},
	},
	{
		except:  []string{"pannier/proxy/kubernetes", "pannier/cmd/pannier-control"},
		forbids: []string{"pannier/proxy/kubernetes"},
		why:     "one program runs beside an API server; a sidecar never asks one",
		plant:   [2]string{"pannier/cmd/pannier", "pannier/proxy/kubernetes"},
	},
	{
		except:  []string{"pannier/proxy/metrics"},
		forbids: []string{"github.com/prometheus"},
		why:     "what is counted is told by the packages in their own terms; one of them bounds the labels and writes the page",
		plant:   [2]string{"pannier/outbound", "github.com/prometheus/client_golang/prometheus"},
	},
	{
		forbids: []string{"pannier/proxy/identity/identitytest"},
		why:     "it makes certificates that nobody should trust: it has no place in the binary",
		plant:   [2]string{"pannier/proxy", "pannier/proxy/identity/identitytest"},
	},
	{
		forbids: []string{"pannier/journal/journaltest"},
		why:     "the store it opens may never compact: it has no place in the binary",
		plant:   [2]string{"pannier/proxy", "pannier/journal/journaltest"},
	},
	{
		forbids: []string{"pannier/proxy/api/apitest"},
		why:     "it is for tests: what it judges with has no place in the binary",
		plant:   [2]string{"pannier/proxy", "pannier/proxy/api/apitest"},
	},
	{
		except: []string{"pannier/proxy/api/apitest"}, inTests: true,
		forbids: []string{"github.com/getkin/kin-openapi"},
		why:     "the sidecar answers as it does because of its own code, which the description is compared with; a second judge at run time could only disagree",
		plant:   [2]string{"pannier/proxy/api", "github.com/getkin/kin-openapi/openapi3"},
	},
}

// A sidecar runs beside every app, so it links nothing that only a control plane in a cluster needs,
// by whatever detour.
func TestSidecarLinksNothingOfKubernetes(t *testing.T) {
	t.Parallel()
	foreign := func(program string) (found []string) {
		for dep := range strings.FieldsSeq(output(t, "go", "list", "-deps", program)) {
			if within(dep, []string{"k8s.io", "sigs.k8s.io"}) {
				found = append(found, dep)
			}
		}
		return found
	}
	if found := foreign("./cmd/pannier"); len(found) > 0 {
		t.Errorf("pannier links %d packages of Kubernetes, %s among them", len(found), found[0])
	}
	if found := foreign("./cmd/pannier-control"); len(found) == 0 {
		t.Error("pannier-control links no package of Kubernetes: this test would see none")
	}
}

// listed is what `go list` says of one package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func (p listed) imports(tests bool) []string {
	if !tests {
		return p.Imports
	}
	return slices.Concat(p.Imports, p.TestImports, p.XTestImports)
}

// broken returns which of a package's imports the rule forbids.
func (r importRule) broken(p listed) (found []string) {
	concerned := len(r.in) == 0 || within(p.ImportPath, r.in)
	if !concerned || within(p.ImportPath, r.except) {
		return nil
	}
	for _, imported := range p.imports(r.inTests) {
		if within(imported, r.forbids) && !slices.Contains(found, imported) {
			found = append(found, imported)
		}
	}
	return found
}

func within(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}

func TestImportsFollowTheDirection(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		for _, rule := range importRules {
			for _, imported := range rule.broken(p) {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule.why)
			}
		}
	}
}

// Each rule must refuse its planted import, in the package itself and where it says so in its tests.
func TestImportRulesCanFail(t *testing.T) {
	t.Parallel()
	for _, rule := range importRules {
		imported := []string{"fmt", rule.plant[1]}
		if got := rule.broken(listed{ImportPath: rule.plant[0], Imports: imported}); !slices.Equal(got, imported[1:]) {
			t.Errorf("%s importing %s: found %v, want it", rule.plant[0], rule.plant[1], got)
		}
		if got := rule.broken(listed{ImportPath: rule.plant[0], XTestImports: imported}); (len(got) > 0) != rule.inTests {
			t.Errorf("a test of %s importing %s: found %v, want found: %v", rule.plant[0], rule.plant[1], got, rule.inTests)
		}
	}
}

func listPackages(t *testing.T) (packages []listed) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(output(t, "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")))
	for {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, p)
	}
	if !slices.ContainsFunc(packages, func(p listed) bool { return p.ImportPath == "pannier/cmd/pannier" }) {
		t.Fatalf("go list does not know pannier/cmd/pannier: %+v", packages)
	}
	return packages
}

// topLevel is all that may stand at the top of the repository beside dotfiles: whatever else there
// is belongs into one of these, or its name says that nobody knew where.
var topLevel = []string{
	"proxy", "outbound", "inbound", "journal", "cmd", "charts", "e2e",
	"go.mod", "go.sum", "README.md", "LICENSE", "Dockerfile",
}

func TestTopLevelLayout(t *testing.T) {
	t.Parallel()
	var names []string
	for file := range strings.Lines(output(t, "git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard")) {
		name, _, _ := strings.Cut(strings.TrimSpace(file), "/")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if !slices.Contains(names, "go.mod") {
		t.Fatalf("git lists %v, and no go.mod among them", names)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			t.Errorf("%s stands at the top of the repository; it belongs into one of %v, or into .gitignore", name, topLevel)
		}
	}
}

// output runs a command at the top of the repository.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = ".."
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, complaint.String())
	}
	return string(out)
}
