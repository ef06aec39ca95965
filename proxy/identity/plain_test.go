package identity_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identitytest"
)

// Plain text to a side with an identity: both ends say what it is about.
func TestPlainTextIsToldOfTLS(t *testing.T) {
	t.Parallel()
	ca := identitytest.NewCA(t, "acme")
	holder := withFiles(t, ca.Issue(nil, domain+"acme/prod/billing"), identity.Options{}, ca)
	service, address := serve(t, holder)
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(identity.Plain()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	refused(t, "plain text", err, "if it asks for TLS, give this sidecar an identity")
	until(t, "the side with an identity says it, too", func() bool {
		return strings.Contains(holder.log.String(), "does not speak TLS: give it an identity")
	})
	if n := service.calls.Load(); n != 0 {
		t.Errorf("%d calls were heard", n)
	}
}
