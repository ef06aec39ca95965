package kubelet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
)

// A Container is one of a pod, over its restarts.
type Container struct {
	pod     *Pod
	spec    *v1.Container
	sidecar bool
	restart bool // when it ends by itself
	into    confinement
	env     []string
	log     string

	started chan struct{} // closed when it has started once: when its startup probe has passed
	ended   chan struct{} // closed when it has ended for good

	mu struct {
		sync.Mutex
		process  *os.Process
		ready    bool
		over     bool
		code     int
		restarts int
	}
}

// leastGrace is left to a container that others have kept from being told to stop.
const leastGrace = 2 * time.Second

func (p *Pod) launch(spec *v1.Container, restart, sidecar bool) (*Container, error) {
	c := &Container{pod: p, spec: spec, sidecar: sidecar, restart: restart, log: filepath.Join(p.dir, spec.Name+".log"),
		started: make(chan struct{}), ended: make(chan struct{})}
	if spec.Lifecycle != nil && (sidecar || spec.Lifecycle.PostStart != nil || spec.Lifecycle.PreStop != nil && spec.Lifecycle.PreStop.Sleep == nil) {
		return nil, fmt.Errorf("container %s: of hooks only an app's preStop sleep is done here", spec.Name)
	}
	var err error
	if c.into, err = p.confine(spec, filepath.Join(p.dir, "roots", spec.Name)); err != nil {
		return nil, fmt.Errorf("container %s: %w", spec.Name, err)
	}
	if c.env, err = p.environment(spec, p.node.Images[spec.Image]); err != nil {
		return nil, fmt.Errorf("container %s: %w", spec.Name, err)
	}
	cmd, err := c.begin()
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", spec.Name, err)
	}
	p.all = append(p.all, c)
	go c.run(cmd)
	return c, nil
}

// begin starts the process.
func (c *Container) begin() (*exec.Cmd, error) {
	cmd, err := c.into.command(c.env)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	c.pod.note(c, "started")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.process = cmd.Process
	return cmd, nil
}

// run is the container's life: it is started again until its pod is stopped.
func (c *Container) run(cmd *exec.Cmd) {
	defer close(c.ended)
	for {
		ctx, cancel := context.WithCancel(context.Background())
		var probing sync.WaitGroup
		probing.Go(func() { c.watch(ctx) })
		cmd.Wait() // how it ended is in its state
		cancel()
		probing.Wait()
		code := codeOf(cmd.ProcessState)
		c.mu.Lock()
		c.mu.code, c.mu.ready, c.mu.process = code, false, nil
		c.mu.over = !c.restart || c.pod.ending()
		over := c.mu.over
		c.mu.restarts++
		pause := min(time.Duration(c.mu.restarts)*100*time.Millisecond, time.Second)
		c.mu.Unlock()
		c.pod.note(c, fmt.Sprint("ended ", code))
		c.pod.node.change()
		if over {
			return
		}
		time.Sleep(pause) // back-off
		if c.pod.ending() {
			return
		}
		var err error
		if cmd, err = c.begin(); err != nil {
			c.pod.note(c, err.Error())
			return
		}
		if c.pod.ending() { // it was told to stop in between
			c.signal(syscall.SIGTERM)
		}
	}
}

// watch probes a process until it ends.
func (c *Container) watch(ctx context.Context) {
	if c.spec.StartupProbe != nil {
		if !c.await(ctx, c.spec.StartupProbe) {
			return
		}
		c.pod.note(c, "up")
	}
	select {
	case <-c.started: // at an earlier start
	default:
		close(c.started)
	}
	var both sync.WaitGroup
	defer both.Wait()
	if c.spec.ReadinessProbe == nil {
		c.setReady(true)
	} else {
		both.Go(func() { c.follow(ctx, c.spec.ReadinessProbe, c.setReady) })
	}
	if c.spec.LivenessProbe != nil {
		both.Go(func() {
			c.follow(ctx, c.spec.LivenessProbe, func(well bool) {
				if !well && !c.pod.ending() {
					c.pod.note(c, "not alive")
					c.signal(syscall.SIGKILL)
				}
			})
		})
	}
}

// await probes until that passes. A process that it does not pass for in time is
// killed.
func (c *Container) await(ctx context.Context, probe *v1.Probe) bool {
	tick := time.NewTicker(seconds(probe.PeriodSeconds, 10))
	defer tick.Stop()
	for failures := int32(1); ; failures++ {
		if c.pod.probe(ctx, c.spec, probe) == nil {
			return true
		}
		if failures == max(probe.FailureThreshold, 1) {
			c.pod.note(c, "not up in time")
			c.signal(syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// follow probes on and on, and says when the outcome has changed for good.
func (c *Container) follow(ctx context.Context, probe *v1.Probe, say func(bool)) {
	tick := time.NewTicker(seconds(probe.PeriodSeconds, 10))
	defer tick.Stop()
	threshold := probe.FailureThreshold
	if threshold == 0 {
		threshold = 3
	}
	for failures := int32(0); ; {
		switch err := c.pod.probe(ctx, c.spec, probe); {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures = 0
			say(true)
		default:
			if failures++; failures == threshold {
				say(false)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stop tells the container to end, once those before it have, and kills it when the
// time is over.
func (c *Container) stop(deadline time.Time, before []*Container) {
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil {
		nap := min(time.Duration(c.spec.Lifecycle.PreStop.Sleep.Seconds)*time.Second, time.Until(deadline))
		select {
		case <-c.ended:
		case <-time.After(nap):
		}
	}
	late := time.After(time.Until(deadline))
	for _, other := range before {
		select {
		case <-other.ended:
		case <-late:
			late = time.After(0) // for those that remain
		}
	}
	select {
	case <-c.ended:
		return
	default:
	}
	c.pod.note(c, "told to stop")
	c.signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(max(time.Until(deadline), leastGrace)):
		c.pod.note(c, "killed")
		c.signal(syscall.SIGKILL)
		<-c.ended
	}
}

func (c *Container) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.process != nil {
		c.mu.process.Signal(s) // it may have ended just now
	}
}

func (c *Container) setReady(ready bool) {
	c.mu.Lock()
	was := c.mu.ready
	c.mu.ready = ready && c.mu.process != nil
	changed := c.mu.ready != was
	c.mu.Unlock()
	if changed {
		c.pod.node.change()
	}
}

// unready reports whether the pod cannot be ready because of it. An init container
// that has done its part is no matter.
func (c *Container) unready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.mu.ready && !(c.mu.over && !c.restart && c.mu.code == 0)
}

// Code is the exit code of its last process that has ended.
func (c *Container) Code() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.code
}

// Restarts is how often a process of it has ended.
func (c *Container) Restarts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.restarts
}

// Log is what it has said.
func (c *Container) Log() string {
	text, _ := os.ReadFile(c.log) // none yet: it has said nothing
	return string(text)
}
