package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"pannier/proxy/mesh"
)

// lookEvery is how often the authorities are compared with those that are served:
// as often as their file is read.
const lookEvery = time.Second

// nameAuthorities serves the authorities that this control plane trusts itself, to
// those who ask for them, and keeps up with their file until ctx ends. While the
// file is wrong the last good ones are served; none are never served.
func (c *ControlPlane) nameAuthorities(ctx context.Context) error {
	if c.opts.Trust == nil {
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var served []byte
	for {
		if now := c.opts.Trust.Authorities(); len(now) > 0 && !bytes.Equal(now, served) {
			secret := mesh.BuildTrust(now)
			if err := c.caches.secrets.UpdateResource(mesh.TrustBundle, secret); err != nil {
				return fmt.Errorf("update caches: %w", err)
			}
			served = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
