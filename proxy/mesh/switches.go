package mesh

import (
	"maps"

	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Switches are what operators have switched by a Runtime layer. The zero value
// has nothing switched.
type Switches struct {
	outbound     bool
	destinations map[string]bool // by key
}

// ReadSwitches reads a layer. Its keys may be written with dots or as nested
// structs, as Envoy takes them; others' keys are nobody's business here.
func ReadSwitches(r *runtimev3.Runtime) Switches {
	s := Switches{destinations: map[string]bool{}}
	s.read("", structpb.NewStructValue(r.GetLayer()), 0)
	return s
}

// deepest is how far a layer is read down; a key of ours has seven parts.
const deepest = 16

func (s *Switches) read(name string, v *structpb.Value, depth int) {
	fields := v.GetStructValue().GetFields()
	if fields != nil && fields["numerator"] == nil {
		if depth == deepest {
			return
		}
		for k, field := range fields {
			if name != "" {
				k = name + "." + k
			}
			s.read(k, field, depth+1)
		}
		return
	}
	if name == SwitchOutbound {
		s.outbound = switchedOn(v)
		return
	}
	if n := len(name) - len(SwitchDestinationSuffix); n > len(SwitchDestinationPrefix) && name[:len(SwitchDestinationPrefix)] == SwitchDestinationPrefix && name[n:] == SwitchDestinationSuffix && switchedOn(v) {
		s.destinations[name[len(SwitchDestinationPrefix):n]] = true
	}
}

// switchedOn takes a bool, a number or a FractionalPercent other than zero.
func switchedOn(v *structpb.Value) bool {
	return v.GetBoolValue() || v.GetNumberValue() != 0 || v.GetStringValue() == "true" ||
		v.GetStructValue().GetFields()["numerator"].GetNumberValue() != 0
}

// Paused reports whether nothing is to be offered to an agent.
func (s Switches) Paused(agent string) bool { return s.outbound || s.destinations[Key(agent)] }

// Equal reports whether the same is switched.
func (s Switches) Equal(other Switches) bool {
	return s.outbound == other.outbound && maps.Equal(s.destinations, other.destinations)
}
