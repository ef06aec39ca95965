package mesh

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// Security says in clusters that endpoints are reached over mutual TLS, and under
// which names a client of the mesh finds its certificate and whom to trust. Nil
// says nothing. Our sidecars go by their own configuration, whatever it says.
type Security struct {
	Certificate string // SDS secret, and gRPC's certificate provider instance
	Trust       string // SDS secret, and gRPC's certificate provider instance, of the CAs
}

const tlsSocket = "envoy.transport_sockets.tls"

// envoy names the certificates by SDS, which gRPC refuses a cluster for.
func (s *Security) envoy() *core.TransportSocket {
	if s == nil {
		return nil
	}
	return socket(&tls.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: []*tls.SdsSecretConfig{{Name: s.Certificate, SdsConfig: ads()}},
		ValidationContextType: &tls.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: &tls.SdsSecretConfig{Name: s.Trust, SdsConfig: ads()},
		},
	})
}

// grpc names them by the instances of certificate_providers in gRPC's bootstrap.
func (s *Security) grpc() *core.TransportSocket {
	if s == nil {
		return nil
	}
	return socket(&tls.CommonTlsContext{
		TlsCertificateProviderInstance: &tls.CertificateProviderPluginInstance{InstanceName: s.Certificate},
		ValidationContextType: &tls.CommonTlsContext_ValidationContext{ValidationContext: &tls.CertificateValidationContext{
			CaCertificateProviderInstance: &tls.CertificateProviderPluginInstance{InstanceName: s.Trust},
		}},
	})
}

func socket(common *tls.CommonTlsContext) *core.TransportSocket {
	return &core.TransportSocket{
		Name:       tlsSocket,
		ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: pack(&tls.UpstreamTlsContext{CommonTlsContext: common})},
	}
}
