package xds

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"pannier/proxy/hostport"
	"pannier/proxy/regular"
)

// maxToken bounds what is read of a token's file.
const maxToken = 16 << 10

// token is the file of a token that says who this sidecar is, such as that of a
// Kubernetes service account. It is read for each stream: whoever issues it writes a
// new one long before it expires.
type token struct {
	file   string
	server string // HOST:PORT
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	f, err := regular.Open(t.file)
	if err != nil {
		return nil, fmt.Errorf("xds_token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	text = bytes.TrimSpace(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("xds_token: %w", err)
	case len(text) == 0 || len(text) > maxToken:
		return nil, fmt.Errorf("xds_token: %s is no token: it has %d bytes", t.file, len(text))
	}
	return map[string]string{"authorization": "Bearer " + string(text)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: whoever reads
// the token can be this sidecar, so plain text will do on loopback only.
func (t token) RequireTransportSecurity() bool { return !hostport.OnLoopback(t.server) }
