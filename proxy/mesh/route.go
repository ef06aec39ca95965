package mesh

import (
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"pannier/outbound"
)

// FaultFilter is the name under which a route's typed_per_filter_config has an
// HTTPFault, bare or in a FilterConfig.
const FaultFilter = "envoy.filters.http.fault"

// backoffFactor makes a RetryBackOff's max_interval where only its base_interval
// is set, as Envoy does.
const backoffFactor = 10

// action is the one route of an agent, with what its virtual host and its
// configuration say for all of theirs.
type action struct {
	route  *routev3.RouteAction
	retry  *routev3.RetryPolicy
	faults []*anypb.Any // the nearest first
}

// actionOf finds what a RouteConfiguration does with everything sent to a key:
// the first route that matches all, of the virtual host with that domain, or of
// the one for all domains. Nil where there is none.
func actionOf(r *routev3.RouteConfiguration, key string) *action {
	for _, domain := range []string{key, "*"} {
		for _, host := range r.GetVirtualHosts() {
			if !slices.Contains(host.GetDomains(), domain) {
				continue
			}
			for _, route := range host.GetRoutes() {
				if !matchesAll(route.GetMatch()) {
					continue
				}
				if route.GetRoute() == nil {
					return nil // a redirect or the like: not for us
				}
				a := &action{route: route.GetRoute(), retry: route.GetRoute().GetRetryPolicy()}
				if a.retry == nil {
					a.retry = host.GetRetryPolicy()
				}
				for _, filters := range []map[string]*anypb.Any{route.GetTypedPerFilterConfig(), host.GetTypedPerFilterConfig(), r.GetTypedPerFilterConfig()} {
					if filter := filters[FaultFilter]; filter != nil {
						a.faults = append(a.faults, filter)
					}
				}
				return a
			}
			return nil
		}
	}
	return nil
}

// matchesAll reports whether a RouteMatch asks for nothing: what it could ask for
// are properties of an HTTP request.
func matchesAll(m *routev3.RouteMatch) bool {
	prefix, ok := m.GetPathSpecifier().(*routev3.RouteMatch_Prefix)
	return ok && (prefix.Prefix == "" || prefix.Prefix == "/") &&
		len(m.GetHeaders()) == 0 && len(m.GetQueryParameters()) == 0 && m.GetRuntimeFraction() == nil
}

func (a *action) policy(key string) outbound.Policy {
	p := outbound.Policy{PerTryTimeout: span(a.retry.GetPerTryTimeout())}
	if p.PerTryTimeout == 0 {
		p.PerTryTimeout = span(a.route.GetTimeout())
	}
	if b := a.retry.GetRetryBackOff(); b != nil {
		p.Backoff = outbound.Backoff{Base: span(b.GetBaseInterval()), Max: span(b.GetMaxInterval())}
		if p.Backoff.Max == 0 {
			p.Backoff.Max = backoffFactor * p.Backoff.Base
		}
	}
	for _, c := range a.route.GetWeightedClusters().GetClusters() {
		p.Split = append(p.Split, outbound.Share{Subset: subsetOf(key, c.GetName()), Weight: int(c.GetWeight().GetValue())})
	}
	for _, filter := range a.faults {
		if f := faultOf(filter); f != nil {
			p.Fault = *f
			break
		}
	}
	return p
}

// faultOf reads an HTTPFault, also out of a FilterConfig, which lets clients that
// do not know the filter pass over it. Nil where it is neither.
func faultOf(filter *anypb.Any) *outbound.Fault {
	wrapped := &routev3.FilterConfig{}
	if filter.MessageIs(wrapped) {
		if filter.UnmarshalTo(wrapped) != nil {
			return nil
		}
		if wrapped.GetDisabled() {
			return &outbound.Fault{}
		}
		filter = wrapped.GetConfig()
	}
	fault := &faultv3.HTTPFault{}
	if filter.UnmarshalTo(fault) != nil {
		return nil
	}
	f := &outbound.Fault{AbortPercent: percent(fault.GetAbort().GetPercentage())}
	if fixed, ok := fault.GetDelay().GetFaultDelaySecifier().(*commonfaultv3.FaultDelay_FixedDelay); ok {
		f.Delay, f.DelayPercent = span(fixed.FixedDelay), percent(fault.GetDelay().GetPercentage())
	}
	return f
}

// percent is a FractionalPercent from 0 to 100.
func percent(f *typev3.FractionalPercent) float64 {
	per := 100.0
	switch f.GetDenominator() {
	case typev3.FractionalPercent_TEN_THOUSAND:
		per = 10_000
	case typev3.FractionalPercent_MILLION:
		per = 1_000_000
	}
	return min(100, float64(f.GetNumerator())*100/per)
}
