// Package inject puts the sidecar into the manifests of Kubernetes: it reads YAML or JSON, finds the
// pods that ask for it by annotation, and adds to them what is missing.
//
//	text ──split──▶ document ──decode──▶ tree ──▶ pods that ask
//	                    │                           │ settings: annotations, then --set
//	                    │                           ▼
//	                    │                 refusals, or additions: what is put where
//	                    │                           │
//	                    └──────── splice ◀──────────┘
//	                                 ▼
//	              text again, read once more and compared with the tree plus its additions
//
// Nothing is written anew: additions are put between the bytes that are there, so that comments, the order
// of keys, anchors, line ends and what this package does not understand stay as they are. The parser says
// where; whether the text then means what was wanted is checked by reading it, and a document in which it
// does not (a list shared through an anchor, say) is refused, not damaged.
//
// A refusal names the annotation or the field, and what to do. All of a stream are told at once, and then
// nothing of it is written. The ValidatingAdmissionPolicy of the control plane's chart says the same
// sentences; a test runs one corpus through both.
//
// A pod that has the sidecar stays as it is, byte for byte, and so does every document of a kind that has
// no pods; it is not read. One that asks in an object of a kind that is not known here is refused: left
// alone, its pods would run without.
//
// It needs nothing of Kubernetes: what it has to know of a pod is a few fields of it, and what it does not
// know it does not judge. Whether the ConfigMaps, Secrets and classes that are named exist is for the
// cluster to say, and whether an agent's address is another's for the control plane.
package inject
