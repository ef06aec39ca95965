package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// State is the place of a secret in its rotation.
type State string

const (
	Next     State = "next"     // made, and shown to its receiver; signs nothing yet
	Current  State = "current"  // signs first
	Retiring State = "retiring" // signs too, until its overlap is over
)

// Keyring keeps the secrets of agents, each agent's in a file of its own that
// only the owner of the process may read. A secret is made when it is first
// needed. A keyring is safe for concurrent use; the directory belongs to one
// process.
type Keyring struct {
	dir string
	now func() time.Time

	mu    sync.Mutex
	rings map[string]*ring
}

// ring is the file of one agent.
type ring struct {
	Agent   string `json:"agent"`
	Secrets []key  `json:"secrets"`
}

type key struct {
	Secret  string    `json:"secret"`
	State   State     `json:"state"`
	Made    time.Time `json:"made_at"`
	Retires time.Time `json:"retires_at,omitzero"`
	Used    time.Time `json:"-"`

	parsed Secret
}

// KeyInfo is what is told of a secret: all but the secret.
type KeyInfo struct {
	Agent       string    `json:"agent"`
	Fingerprint string    `json:"fingerprint"`
	State       State     `json:"state"`
	Made        time.Time `json:"made_at"`
	Retires     time.Time `json:"retires_at,omitzero"`
	LastUsed    time.Time `json:"last_used_at,omitzero"` // since the start of the process
	Path        string    `json:"path"`
}

// NewKeyring returns the keyring of a directory, which is made when the first
// secret is.
func NewKeyring(dir string) *Keyring {
	return &Keyring{dir: dir, now: time.Now, rings: map[string]*ring{}}
}

// Signing returns the secrets that sign for the agent now, the primary first.
func (k *Keyring) Signing(agent string) ([]Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, err := k.ring(agent)
	if err != nil {
		return nil, err
	}
	now := k.now()
	var out []Secret
	for i := range r.Secrets {
		if s := &r.Secrets[i]; s.State == Current || s.State == Retiring && s.Retires.After(now) {
			s.Used = now
			out = append(out, s.parsed)
		}
	}
	return out, nil
}

// Rotate makes the next secret the current one, or a new one where none was
// prepared. The old one signs too for as long as the overlap.
func (k *Keyring) Rotate(agent string, overlap time.Duration) ([]KeyInfo, error) {
	return k.change(agent, func(r *ring, now time.Time) {
		list := []key{newKey(Current, now)}
		for _, s := range r.Secrets {
			switch {
			case s.State == Next:
				s.State = Current
				list[0] = s
			case s.State == Current && overlap > 0:
				s.State, s.Retires = Retiring, now.Add(overlap)
				list = append(list, s)
			case s.State == Retiring && s.Retires.After(now):
				list = append(list, s)
			}
		}
		r.Secrets = list
	})
}

// Prepare makes the secret that the next Rotate will make the current one, for
// its receiver to learn before anything is signed with it.
func (k *Keyring) Prepare(agent string) ([]KeyInfo, error) {
	return k.change(agent, func(r *ring, now time.Time) {
		if !slices.ContainsFunc(r.Secrets, func(s key) bool { return s.State == Next }) {
			r.Secrets = append(r.Secrets, newKey(Next, now))
		}
	})
}

// List describes the secrets of the agents given.
func (k *Keyring) List(agents []string) ([]KeyInfo, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []KeyInfo
	for _, agent := range agents {
		r, err := k.ring(agent)
		if err != nil {
			return nil, err
		}
		out = append(out, k.describe(r)...)
	}
	return out, nil
}

// Made is when the secret that signs for an agent was made, for those that have been
// needed. It reads memory only.
func (k *Keyring) Made() map[string]time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[string]time.Time, len(k.rings))
	for agent, r := range k.rings {
		for i := range r.Secrets {
			if r.Secrets[i].State == Current {
				out[agent] = r.Secrets[i].Made
			}
		}
	}
	return out
}

func newKey(s State, now time.Time) key {
	secret := NewSecret()
	return key{Secret: secret.Reveal(), State: s, Made: now.UTC().Truncate(time.Second), parsed: secret}
}

// change applies f to a copy of the agent's ring, and takes it over when it is
// on the disk.
func (k *Keyring) change(agent string, f func(r *ring, now time.Time)) ([]KeyInfo, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old, err := k.ring(agent)
	if err != nil {
		return nil, err
	}
	r := &ring{Agent: agent, Secrets: slices.Clone(old.Secrets)}
	f(r, k.now())
	if err := k.write(r); err != nil {
		return nil, err
	}
	k.rings[agent] = r
	return k.describe(r), nil
}

func (k *Keyring) describe(r *ring) []KeyInfo {
	now := k.now()
	var out []KeyInfo
	for _, s := range r.Secrets {
		if s.State == Retiring && !s.Retires.After(now) {
			continue
		}
		out = append(out, KeyInfo{
			Agent: r.Agent, Fingerprint: s.parsed.Fingerprint(), State: s.State, Made: s.Made, Retires: s.Retires, LastUsed: s.Used, Path: k.path(r.Agent),
		})
	}
	return out
}

// ring reads the file of an agent, or makes it. Called with mu held.
func (k *Keyring) ring(agent string) (*ring, error) {
	if r := k.rings[agent]; r != nil {
		return r, nil
	}
	path := k.path(agent)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		r := &ring{Agent: agent, Secrets: []key{newKey(Current, k.now())}}
		if err := k.write(r); err != nil {
			return nil, err
		}
		k.rings[agent] = r
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secrets of %s: %w", agent, err)
	}
	r := &ring{}
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("secrets of %s: %s is not what was written there: restore it, or remove it to have a new secret made", agent, path)
	}
	current := 0
	for i := range r.Secrets {
		if r.Secrets[i].parsed, err = ParseSecret(r.Secrets[i].Secret); err != nil {
			return nil, fmt.Errorf("secrets of %s: number %d in %s: %w", agent, i+1, path, err)
		}
		if r.Secrets[i].State == Current {
			current++
		}
	}
	if r.Agent != agent || current != 1 {
		return nil, fmt.Errorf("secrets of %s: %s must name that agent, and one secret as current", agent, path)
	}
	k.rings[agent] = r
	return r, nil
}

// path is the file of an agent: its name, as far as a file may have it, and a
// hash that tells it from all others.
func (k *Keyring) path(agent string) string {
	sum := sha256.Sum256([]byte(agent))
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.TrimPrefix(agent, "agent://"))
	return filepath.Join(k.dir, name[:min(len(name), 80)]+"-"+hex.EncodeToString(sum[:4])+".json")
}

// write replaces the file of a ring. A crash leaves the old one or the new one.
func (k *Keyring) write(r *ring) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("secrets of %s: %w", r.Agent, err)
	}
	if err := replaceFile(k.path(r.Agent), append(content, '\n')); err != nil {
		return fmt.Errorf("secrets of %s: %w", r.Agent, err)
	}
	return nil
}

func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing of that name
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
