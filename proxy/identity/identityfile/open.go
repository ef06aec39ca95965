// Package identityfile reads what operators write of identities, for every process
// that has one: the keyring file, which it watches, the mappings of names to
// agents, and the policy of who may send to whom.
package identityfile

import (
	"log/slog"

	"pannier/proxy/identity"
)

// Open reads the files of an identity: errors are of configuration.
func Open(o identity.Options, log *slog.Logger) (*identity.Trust, *Keyring, error) {
	trust, err := identity.New(o, log)
	if err != nil {
		return nil, nil, err
	}
	keyring, err := OpenKeyring(o.Keyring, trust.SetKeys, log)
	return trust, keyring, err
}
