// Package admission runs one corpus of pods through the two ways to inject a sidecar that this repository
// has code for: `pannier inject`, and the admission policies of charts/pannier-control, whose CEL is
// compiled and run by the API server's own packages (k8s.io/apiserver).
//
//	testdata/pods/NAME.yaml ──▶ pannier inject ──▶ its pods ─┐
//	           │                                             ├─ the same, and testdata/want/NAME.yaml
//	           └─ its pods, as its controller makes them     │
//	                   └─▶ MutatingAdmissionPolicy ──────────┘
//	                            └─▶ ValidatingAdmissionPolicy: lets it through
//
// Pods that are refused say the same in both, and stand in testdata/refused. What a pod does not show (its
// StatefulSet's replicas, say) is refused by inject alone; those are listed with the reason.
//
// It is a module of its own because nothing else here needs an API server's packages. What it does not do:
// run an API server. That objects are matched, bound, and validated as they are stored, is Kubernetes' own.
package admission
