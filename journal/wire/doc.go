// Package wire holds the messages the journal stores: protobuf, so that a
// record written by one version can be read by the next. The frames between
// sidecars are in wire/peer, which alone of the packages below journal knows gRPC:
// home dials, and one stream per home and holder carries
//
//	home → holder    hello, report acks, revokes, updates, offers
//	holder → home    hello, holdings, credit, held, refused, releases, reports
//	both ways        asks, answers, goodbye, ping, pong
//
// Knock is a call of its own, of a holder to a home.
package wire

//go:generate protoc -I . --go_out=. --go_opt=paths=source_relative record.proto
//go:generate protoc -I peer -I . --go_out=peer --go_opt=paths=source_relative --go-grpc_out=peer --go-grpc_opt=paths=source_relative peer.proto
