package xds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"pannier/proxy/mesh"
)

// The file of the last known good is a line that says what it is, the SHA-256 of
// the rest, and messages of the protocol itself, each behind its length: the
// request we would make (names are the agents' addresses), and for each type the
// response that would bring all that is in force; what is known not to exist is
// removed in it.
const fileMagic = "pannier last known good 1\n"

// Fields of a kept resource's metadata.
const (
	fieldReceived = "received" // RFC 3339
	fieldGone     = "gone"     // since when its server has it no longer
)

// maxFile bounds what is read back.
const maxFile = 256 << 20

// keep writes the file whenever it is behind, until ctx ends, and then once more.
func (c *Client) keep(ctx context.Context) {
	if c.o.File == "" {
		return
	}
	for {
		select {
		case <-c.write:
		case <-ctx.Done():
			c.save(time.Now())
			return
		}
		c.save(time.Now())
		select {
		case <-time.After(writeEvery):
		case <-ctx.Done():
		}
	}
}

// save writes the file if it is behind. A failure is tried again with the next
// news: the file that is there is older, and good.
func (c *Client) save(now time.Time) {
	content := c.encode(now)
	if content == nil {
		return
	}
	if err := replace(c.disk, c.o.File, content); err != nil {
		c.log.Error("the last known good is not kept: a start without a control plane would know less", "path", c.o.File, "err", err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mu.dirty = true
	}
}

// encode is the content of the file; nil where it is not behind, or where no
// server has spoken yet and there is nothing better to write than what is there.
func (c *Client) encode(now time.Time) []byte {
	ask, all := c.toKeep(now)
	if ask == nil {
		return nil
	}
	var body bytes.Buffer
	put(&body, ask)
	for i, kept := range all {
		one := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: kinds[i].url}
		for _, r := range kept {
			if r.value != nil {
				one.Resources = append(one.Resources, r.kept())
			} else {
				one.RemovedResources = append(one.RemovedResources, r.name)
			}
		}
		put(&body, one)
	}
	sum := sha256.Sum256(body.Bytes())
	return slices.Concat([]byte(fileMagic), sum[:], body.Bytes())
}

// toKeep copies what is to be written, so that encoding it keeps nobody waiting:
// a value is never changed, only replaced.
func (c *Client) toKeep(now time.Time) (ask *discoveryv3.DeltaDiscoveryRequest, all [len(kinds)][]resource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.dirty || !c.mu.spoke {
		return nil, all
	}
	c.mu.dirty, c.mu.saved = false, now
	c.mu.confirmed = c.lastHeard(now)
	c.alarm(now.Add(rewriteEvery))
	ask = &discoveryv3.DeltaDiscoveryRequest{InitialResourceVersions: map[string]string{fieldReceived: stamp(c.mu.confirmed)}}
	for address := range c.mu.agents {
		ask.ResourceNamesSubscribe = append(ask.ResourceNamesSubscribe, address)
	}
	slices.Sort(ask.ResourceNamesSubscribe)
	for i, byName := range c.mu.resources {
		for _, r := range byName {
			if r.value != nil || r.absent {
				all[i] = append(all[i], resource{name: r.name, value: r.value, version: r.version, received: r.received, gone: r.gone})
			}
		}
	}
	return ask, all
}

func put(to *bytes.Buffer, m proto.Message) {
	if _, err := protodelim.MarshalTo(to, m); err != nil {
		panic(err) // of what was unmarshaled before, into memory
	}
}

func (r *resource) kept() *discoveryv3.Resource {
	fields := map[string]*structpb.Value{fieldReceived: structpb.NewStringValue(stamp(r.received))}
	if !r.gone.IsZero() {
		fields[fieldGone] = structpb.NewStringValue(stamp(r.gone))
	}
	return &discoveryv3.Resource{
		Name: r.name, Version: r.version, Resource: packed(r.value),
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{mesh.Metadata: {Fields: fields}}},
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func readStamp(text string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, text) // the zero time for what is none
	return t
}

// load takes in what the file says. Nothing is listened to yet.
func (c *Client) load(now time.Time) {
	if c.o.File == "" {
		return
	}
	content, err := c.disk.Read(c.o.File, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = c.decode(content, now)
	}
	if err != nil {
		c.log.Error("the last known good cannot be used: nothing is known until a control plane answers", "path", c.o.File, "err", err)
	}
}

// decode puts a file's content in force, or nothing of it.
func (c *Client) decode(content []byte, now time.Time) error {
	rest, ok := bytes.CutPrefix(content, []byte(fileMagic))
	if !ok || len(rest) < sha256.Size {
		return errors.New("not a file of this kind, or cut short")
	}
	sum, body := rest[:sha256.Size], rest[sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:]) {
		return errors.New("its checksum does not match")
	}
	from := bytes.NewReader(body)
	ask := &discoveryv3.DeltaDiscoveryRequest{}
	unbounded := protodelim.UnmarshalOptions{MaxSize: -1} // the file is bounded
	if err := unbounded.UnmarshalFrom(from, ask); err != nil {
		return fmt.Errorf("read the agents: %w", err)
	}
	saved := readStamp(ask.GetInitialResourceVersions()[fieldReceived])
	if now.Sub(saved) > keptFor {
		return fmt.Errorf("it is from %s", saved.Format(time.DateOnly))
	}
	var all []*discoveryv3.DeltaDiscoveryResponse
	for from.Len() > 0 {
		one := &discoveryv3.DeltaDiscoveryResponse{}
		if err := unbounded.UnmarshalFrom(from, one); err != nil {
			return fmt.Errorf("read the resources: %w", err)
		}
		all = append(all, one)
	}
	c.restore(ask.GetResourceNamesSubscribe(), all, saved, now)
	return nil
}

// restore subscribes to the agents of the file and puts in force what it has of
// them: as good as heard from a server, but marked.
func (c *Client) restore(agents []string, all []*discoveryv3.DeltaDiscoveryResponse, saved, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := map[ref]*resource{}
	for _, response := range all {
		i := indexOf(response.GetTypeUrl())
		if i < 0 {
			continue // an older program's, or a newer's
		}
		for _, one := range response.GetResources() {
			m, err := kinds[i].parse(one)
			if err != nil {
				c.log.Warn("a part of the last known good is left out", "resource", kinds[i].word, "name", one.GetName(), "err", err)
				continue
			}
			fields := one.GetMetadata().GetFilterMetadata()[mesh.Metadata].GetFields()
			r := &resource{kind: i, name: one.GetName(), users: map[*agent]struct{}{}, value: m, version: one.GetVersion(), unheard: true,
				received: readStamp(fields[fieldReceived].GetStringValue()), gone: readStamp(fields[fieldGone].GetStringValue())}
			if !r.gone.IsZero() {
				c.alarm(r.gone.Add(c.o.grace()))
			}
			kept[ref{i, r.name}] = r
		}
		for _, name := range response.GetRemovedResources() {
			kept[ref{i, name}] = &resource{kind: i, name: name, users: map[*agent]struct{}{}, absent: true}
		}
	}
	// The names are followed once everything is there; what nobody uses goes again.
	for f, r := range kept {
		c.mu.resources[f.kind][f.name] = r
	}
	for _, address := range agents[:min(len(agents), maxAgents)] {
		c.assemble(c.subscribe(address, now), now)
	}
	for f, r := range kept {
		if len(r.users) == 0 && f.kind != runtime && (f.kind != secret || c.o.Trust == nil) {
			delete(c.mu.resources[f.kind], f.name)
		}
	}
	if r := c.mu.resources[secret][mesh.TrustBundle]; r != nil && r.value != nil {
		r.users = nil
		c.trust(r)
	}
	if r := c.mu.resources[runtime][mesh.Runtime]; r.value != nil {
		c.refresh([]*resource{r}, now)
	}
	c.mu.dirty, c.mu.confirmed = false, saved
}
