package controlplane

import (
	"bytes"
	"fmt"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// press adds resources as the bytes they go out as. An agent's tree of Envoy's
// structs takes 9 KB, and their bytes one; nobody looks at the structs again. The
// caches want messages: an empty one keeps the bytes as fields unknown to it, and
// is marshaled to just them.
func press(k kind, to []resource, byName map[string]proto.Message) ([]resource, error) {
	for name, m := range byName {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		flat := &emptypb.Empty{}
		flat.ProtoReflect().SetUnknown(text)
		to = append(to, resource{k, name, flat})
	}
	return to, nil
}

// sameBytes compares two resources that were pressed.
func sameBytes(a, b types.Resource) bool {
	return bytes.Equal(a.ProtoReflect().GetUnknown(), b.ProtoReflect().GetUnknown())
}
