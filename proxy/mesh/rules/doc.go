// Package rules holds messages to the rules that their protos state for each field
// (protoc-gen-validate), and that Envoy refuses a resource by.
//
//	descriptor ──first message of its type──▶ plan ──message──▶ what is broken
//
// The generated ValidateAll of go-control-plane says the same, word for word, in code
// of its own for each of the hundreds of types that a cluster or a route may carry:
// together an eighth of a sidecar. Here the rules are read where the generator read
// them, in the options of the descriptors, which are linked in any case. The tests hold
// the one against the other on every type there is.
//
// Only rules that occur are known. A message under any other is refused, and not taken
// unchecked.
//
// Who asks any type whether it has a method Validate or ValidateAll brings the generated
// ones back: the linker keeps every method that could be meant.
//
// A plan is kept for each type met, of those that are linked. Nothing else is kept.
package rules
