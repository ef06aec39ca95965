package kubernetes

// Labels and annotations, as people write them.
const (
	// LabelMesh with the value MeshEnabled makes a Service one of the mesh. Labels of
	// a Service are copied to its EndpointSlices, annotations are not: so the API
	// server sends nothing of the rest of a cluster.
	LabelMesh   = "pannier.io/mesh"
	MeshEnabled = "enabled"

	// AnnotationOrg and AnnotationEnv of a Namespace say which addresses its Services
	// may have: agent://ORG/ENV/…. Whoever may write them hands out addresses.
	AnnotationOrg = "pannier.io/org"
	AnnotationEnv = "pannier.io/env"

	// AnnotationAgentName of a Service is the last part of its agent's address; without
	// it that is the Service's own name. AnnotationAgent is the whole address, and
	// counts only where the Namespace allows it.
	AnnotationAgentName = "pannier.io/agent-name"
	AnnotationAgent     = "pannier.io/agent"

	// AnnotationAccount of a Service names the one service account whose sidecars may
	// register its agent; without it all of the Namespace may.
	AnnotationAccount = "pannier.io/service-account"

	// PortName is what the port of the sidecars is called in the Service; a port with
	// AppProtocol is one by any name.
	PortName    = "pannier-peer"
	AppProtocol = "pannier.io/peer"
)
