package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
)

// A Pod is one that was started.
type Pod struct {
	IP string

	node    *Node
	spec    *v1.Pod
	sandbox Sandbox
	dir     string
	fsGroup *int64
	volumes map[string]string // directories, by name
	probes  *http.Client      // from the node
	done    chan struct{}

	all []*Container // in the order of their start

	mu struct {
		sync.Mutex
		events   []string
		stopping bool
	}
}

// Start runs a pod, and returns when its init containers have done their part and its
// app containers are started. The pod is to be stopped after an error, too.
func (n *Node) Start(ctx context.Context, spec *v1.Pod, at Sandbox) (*Pod, error) {
	spec = spec.DeepCopy()
	p := &Pod{IP: at.IP, node: n, spec: spec, sandbox: at, probes: Client(n.NetNS), done: make(chan struct{})}
	if spec.Spec.SecurityContext == nil {
		spec.Spec.SecurityContext = &v1.PodSecurityContext{}
	}
	p.fsGroup = spec.Spec.SecurityContext.FSGroup
	n.tell(&spec.Spec)
	if err := n.add(p); err != nil {
		return p, err
	}
	var err error
	if p.dir, err = os.MkdirTemp(n.Dir, spec.Name+"-"); err != nil {
		return p, err
	}
	if err := p.layVolumes(); err != nil {
		return p, err
	}
	for i := range spec.Spec.InitContainers {
		if err := p.initialise(ctx, &spec.Spec.InitContainers[i]); err != nil {
			return p, err
		}
	}
	for i := range spec.Spec.Containers {
		if _, err := p.launch(&spec.Spec.Containers[i], spec.Spec.RestartPolicy != v1.RestartPolicyNever && spec.Spec.RestartPolicy != v1.RestartPolicyOnFailure, false); err != nil {
			return p, err
		}
	}
	go p.complete()
	return p, nil
}

// initialise runs an init container: to its end, or, a sidecar, until it has started.
func (p *Pod) initialise(ctx context.Context, spec *v1.Container) error {
	sidecar := spec.RestartPolicy != nil && *spec.RestartPolicy == v1.ContainerRestartPolicyAlways
	c, err := p.launch(spec, sidecar, sidecar)
	if err != nil {
		return err
	}
	until := c.ended
	if sidecar {
		until = c.started
	}
	select {
	case <-until:
	case <-ctx.Done():
		return fmt.Errorf("init container %s: %w\n%s", spec.Name, ctx.Err(), c.Log())
	}
	if code := c.Code(); !sidecar && code != 0 {
		return fmt.Errorf("init container %s: exit code %d\n%s", spec.Name, code, c.Log())
	}
	return nil
}

// complete ends a pod whose apps have ended for good: sidecars do not keep it.
func (p *Pod) complete() {
	for _, c := range p.all {
		if !c.sidecar {
			<-c.ended
		}
	}
	p.Stop()
}

// Stop stops the containers in order, and returns when all have ended. What was the
// pod's own is taken away; the logs are not.
func (p *Pod) Stop() {
	p.mu.Lock()
	first := !p.mu.stopping
	p.mu.stopping = true
	p.mu.Unlock()
	p.node.change()
	if !first {
		<-p.done
		return
	}
	defer p.node.change()
	defer close(p.done)
	grace := int64(30)
	if said := p.spec.Spec.TerminationGracePeriodSeconds; said != nil {
		grace = *said
	}
	deadline := time.Now().Add(time.Duration(grace) * time.Second)
	var all sync.WaitGroup
	for i, c := range p.all {
		// A sidecar's turn is when all that were started after it have ended.
		var before []*Container
		if c.sidecar {
			before = p.all[i+1:]
		}
		all.Go(func() { c.stop(deadline, before) })
	}
	all.Wait()
	p.node.remove(p)
	os.RemoveAll(filepath.Join(p.dir, "volumes")) // a claim is elsewhere
	os.RemoveAll(filepath.Join(p.dir, "roots"))
}

// Kill ends all of it at once, as the loss of the node does.
func (p *Pod) Kill() {
	p.mu.Lock()
	first := !p.mu.stopping
	p.mu.stopping = true
	p.mu.Unlock()
	for _, c := range p.all {
		c.signal(syscall.SIGKILL)
		<-c.ended
	}
	p.node.remove(p)
	if first {
		close(p.done)
	}
}

// Done is closed when all of the pod has ended.
func (p *Pod) Done() <-chan struct{} { return p.done }

// Ready reports whether all of its containers are.
func (p *Pod) Ready() bool {
	for _, c := range p.all {
		if c.unready() {
			return false
		}
	}
	return len(p.all) > 0
}

// Client is one of HTTP inside the pod: 127.0.0.1 is the pod's own.
func (p *Pod) Client() *http.Client { return Client(p.sandbox.NetNS) }

// Exec runs a program in a container, beside what runs there and as that does.
func (p *Pod) Exec(ctx context.Context, container string, argv ...string) (stdout, stderr string, code int, err error) {
	c := p.Container(container)
	into := c.into
	into.Argv = argv
	cmd, err := into.command(c.env)
	if err != nil {
		return "", "", 0, err
	}
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		return "", "", 0, err
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	cmd.Wait() // how it ended is in its state
	return out.String(), said.String(), codeOf(cmd.ProcessState), ctx.Err()
}

// Spec is what the pod was started from, and is not to be changed.
func (p *Pod) Spec() *v1.Pod { return p.spec }

// Stopping reports whether it is being stopped, or has been.
func (p *Pod) Stopping() bool { return p.ending() }

// claims are the names of those it has.
func (p *Pod) claims() (names []string) {
	for _, v := range p.spec.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		}
	}
	return names
}

// Container is the one of a name, which must be there.
func (p *Pod) Container(name string) *Container {
	i := slices.IndexFunc(p.all, func(c *Container) bool { return c.spec.Name == name })
	return p.all[i]
}

// Events are what has happened to its containers, in order: "NAME started", "NAME up"
// of a startup probe that passed, "NAME told to stop", "NAME killed", "NAME ended CODE".
func (p *Pod) Events() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mu.events)
}

// Logs are what all containers have said.
func (p *Pod) Logs() map[string]string {
	logs := map[string]string{}
	for _, c := range p.all {
		logs[c.spec.Name] = c.Log()
	}
	return logs
}

func (p *Pod) note(c *Container, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.events = append(p.mu.events, c.spec.Name+" "+what)
}

func (p *Pod) ending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.stopping
}

// refresh swaps in what the objects behind its volumes hold now.
func (p *Pod) refresh() error {
	for i := range p.spec.Spec.Volumes {
		v := &p.spec.Spec.Volumes[i]
		if v.Secret == nil && v.ConfigMap == nil && v.Projected == nil {
			continue
		}
		content, err := p.content(v)
		if err != nil {
			return err
		}
		if err := p.swap(p.volumes[v.Name], content); err != nil {
			return err
		}
	}
	return nil
}

// confine says where and as whom a container runs.
func (p *Pod) confine(c *v1.Container, root string) (confinement, error) {
	image, ok := p.node.Images[c.Image]
	if !ok {
		return confinement{}, fmt.Errorf("image %s: there are %v", c.Image, slices.Collect(maps.Keys(p.node.Images)))
	}
	of := c.SecurityContext
	if of == nil {
		of = &v1.SecurityContext{}
	}
	whole := p.spec.Spec.SecurityContext
	said := func(first, second *int64) int {
		switch {
		case first != nil:
			return int(*first)
		case second != nil:
			return int(*second)
		}
		return 0
	}
	yes := func(b *bool) bool { return b != nil && *b }
	to := confinement{
		NetNS: p.sandbox.NetNS, Root: root, ReadOnly: yes(of.ReadOnlyRootFilesystem), Dir: "/" + c.WorkingDir,
		UID: said(of.RunAsUser, whole.RunAsUser), GID: said(of.RunAsGroup, whole.RunAsGroup),
		NoNewPrivs: of.AllowPrivilegeEscalation != nil && !*of.AllowPrivilegeEscalation,
		DropAll:    of.Capabilities != nil && slices.Contains(of.Capabilities.Drop, "ALL"),
		Mounts:     []mount{{p.node.hostsFile(), "/etc/hosts", false}},
	}
	if to.UID == 0 && (yes(of.RunAsNonRoot) || yes(whole.RunAsNonRoot)) {
		return to, errors.New("runAsNonRoot, and it would be root")
	}
	for _, g := range append(slices.Clone(whole.SupplementalGroups), int64(to.GID)) {
		to.Groups = append(to.Groups, int(g))
	}
	if p.fsGroup != nil {
		to.Groups = append(to.Groups, int(*p.fsGroup))
	}
	for _, m := range c.VolumeMounts {
		from, ok := p.volumes[m.Name]
		if !ok || m.SubPath != "" || m.SubPathExpr != "" {
			return to, fmt.Errorf("volume mount %s: no such volume, or a part of one", m.Name)
		}
		to.Mounts = append(to.Mounts, mount{filepath.Join(from, m.SubPath), m.MountPath, m.ReadOnly})
	}
	command := c.Command
	if command == nil {
		command = image.Entrypoint
	}
	known := map[string]string{}
	for _, e := range c.Env {
		known[e.Name] = e.Value
	}
	for _, word := range slices.Concat(command, c.Args) {
		to.Argv = append(to.Argv, expand(word, known))
	}
	return to, p.node.lay(root, image, to.Mounts)
}

// probe asks once.
func (p *Pod) probe(ctx context.Context, c *v1.Container, probe *v1.Probe) error {
	get := probe.HTTPGet
	if get == nil {
		return errors.New("this kind of probe is not done here")
	}
	port := get.Port.IntValue()
	for _, named := range c.Ports {
		if named.Name == get.Port.StrVal && get.Port.StrVal != "" {
			port = int(named.ContainerPort)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, seconds(probe.TimeoutSeconds, 1))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s:%d%s", p.IP, port, get.Path), nil)
	if err != nil {
		return err
	}
	request.Close = true
	answer, err := p.probes.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body) // its end is no part of the answer
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return fmt.Errorf("%s", answer.Status)
	}
	return nil
}

func seconds(said, otherwise int32) time.Duration {
	if said == 0 {
		said = otherwise
	}
	return time.Duration(said) * time.Second
}

// codeOf is how a process ended, as a shell says it.
func codeOf(state *os.ProcessState) int {
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return state.ExitCode()
}
