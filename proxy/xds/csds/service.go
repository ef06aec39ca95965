// Package csds holds the messages of the client status discovery service as a client
// speaks of itself. go-control-plane has them too, with all that a server could be
// configured with: Envoy's admin and bootstrap messages, 1.4 MB of every sidecar for
// four messages.
package csds

import (
	"time"

	"google.golang.org/grpc"
)

//go:generate protoc -I . --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative csds.proto

// Service is its name on the wire. The messages have names of their own, which are on
// no wire: a program may hold a type of protobuf once, and one that links both these and
// go-control-plane's would not start.
const Service = "envoy.service.status.v3.ClientStatusDiscoveryService"

// Register serves it under its name on the wire.
func Register(s grpc.ServiceRegistrar, server ClientStatusServer) {
	desc := ClientStatus_ServiceDesc
	desc.ServiceName = Service
	s.RegisterService(&desc, server)
}

// At is a time as the wire has it.
func At(t time.Time) *Timestamp { return &Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())} }
