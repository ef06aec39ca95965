package kubelet

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A Node runs pods. Its directory holds their roots, volumes and logs, and claims.
type Node struct {
	Dir    string
	NetNS  string // file of the network namespace that it probes from
	Images map[string]Image
	API    *APIServer // nil: no pod is told of one

	// Changed is called when a pod may have become ready or unready, or is being stopped,
	// or has ended. It does not wait.
	Changed func()

	mu struct {
		sync.Mutex
		objects map[string]map[string][]byte // by kind/name, by key
		hosts   map[string][]string          // addresses, by name
		pods    map[*Pod]struct{}
	}
}

// An Image is files from here that are a container's root, by their path there; all of
// them on the volume of the node's directory. Programs are static.
type Image struct {
	Files      map[string]string
	Entrypoint []string
	Env        []string
}

// A Sandbox is where a pod is in the network.
type Sandbox struct {
	NetNS string // file of its namespace
	IP    string
}

const (
	secretKind    = "secret"
	configMapKind = "configMap"
)

// Secret makes one, or changes it: in the volumes of pods too, at once.
func (n *Node) Secret(name string, data map[string][]byte) error {
	return n.set(secretKind, name, data)
}

// ConfigMap makes one, or changes it: in the volumes of pods too, at once.
func (n *Node) ConfigMap(name string, data map[string][]byte) error {
	return n.set(configMapKind, name, data)
}

func (n *Node) set(kind, name string, data map[string][]byte) error {
	n.mu.Lock()
	if n.mu.objects == nil {
		n.mu.objects = map[string]map[string][]byte{}
	}
	n.mu.objects[kind+"/"+name] = data
	pods := slices.Collect(maps.Keys(n.mu.pods))
	n.mu.Unlock()
	for _, p := range pods {
		if err := p.refresh(); err != nil {
			return fmt.Errorf("pod %s: %w", p.spec.Name, err)
		}
	}
	return nil
}

func (n *Node) object(kind, name string) (map[string][]byte, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	data, ok := n.mu.objects[kind+"/"+name]
	return data, ok
}

func (n *Node) value(kind, name, key string) (string, error) {
	data, ok := n.object(kind, name)
	if text, there := data[key]; ok && there {
		return string(text), nil
	}
	return "", fmt.Errorf("%s %s has no key %s", kind, name, key)
}

// Host gives a name its addresses, in all pods, at once.
func (n *Node) Host(name string, ips ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.hosts == nil {
		n.mu.hosts = map[string][]string{}
	}
	n.mu.hosts[name] = ips
	lines := []string{"127.0.0.1 localhost"}
	for _, name := range slices.Sorted(maps.Keys(n.mu.hosts)) {
		for _, ip := range n.mu.hosts[name] {
			lines = append(lines, ip+" "+name)
		}
	}
	// In place: it is mounted, and a mount is of the file, not of its name.
	return os.WriteFile(n.hostsFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

func (n *Node) change() {
	if n.Changed != nil {
		n.Changed()
	}
}

// DeleteClaim deletes a claim, and what is on its volume.
func (n *Node) DeleteClaim(name string) error { return os.RemoveAll(n.claim(name)) }

func (n *Node) claim(name string) string { return filepath.Join(n.Dir, "claims", name) }

// add has a pod among those of the node, unless another has one of its claims: they are
// taken to be for one pod at a time (ReadWriteOncePod).
func (n *Node) add(p *Pod) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.mu.pods {
		for _, claim := range other.claims() {
			if slices.Contains(p.claims(), claim) {
				return fmt.Errorf("claim %s: pod %s has it", claim, other.spec.Name)
			}
		}
	}
	if n.mu.pods == nil {
		n.mu.pods = map[*Pod]struct{}{}
	}
	n.mu.pods[p] = struct{}{}
	return nil
}

func (n *Node) remove(p *Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.pods, p)
}

func (n *Node) hostsFile() string { return filepath.Join(n.Dir, "hosts") }

// lay makes the root of a container: the image's files, and where to mount.
func (n *Node) lay(root string, image Image, mounts []mount) error {
	for to, from := range image.Files {
		at := filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Link(from, at); err != nil {
			return err
		}
	}
	for _, dir := range []string{"proc", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for _, m := range mounts {
		at := filepath.Join(root, m.To)
		info, err := os.Stat(m.From)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = os.MkdirAll(at, 0o755)
		} else {
			err = os.WriteFile(at, nil, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func groupOf(info os.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(s.Gid)
	}
	return -1
}
