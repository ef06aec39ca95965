// Package kubelet runs pods as a node does, without a container engine, for tests of
// what Pannier is in a cluster: the processes are the real ones.
//
//	manifest ──Read──▶ objects ──Replica, Instance, Attempt──▶ v1.Pod
//
//	v1.Pod ──Start──▶ volumes ─▶ init containers in order ─▶ app containers ─▶ probes
//	                             (a sidecar's startup probe     all at once
//	                              is waited for)
//	         ──Stop───▶ app containers, at once ─▶ sidecars, the last first ─▶ SIGKILL
//	                    preStop, SIGTERM            when those after it have ended
//
// The text that helm renders is read as strictly as an API server does that validates
// fields; what controllers do then is for the tests, which know when.
//
// A pod has a network namespace, which it is given; each container has a root of its
// own with the image's files and nothing else, a mount namespace in which that root may
// be read-only, and the user, groups and privileges of its security context. Volumes are
// laid out, owned and moded as the kubelet does it: secrets and ConfigMaps behind ..data,
// fsGroup, claims that outlive the pod and are one pod's at a time, and the token of the
// service account where there is an API server to show it to.
//
// What Kubernetes refuses in general is not looked for here. What is asked for and not
// done here is an error, not ignored: of volumes, probes and hooks there are those
// that tests use. seccomp profiles, resources and DNS (but for /etc/hosts) are not
// applied; a limit is only told by the downward API.
package kubelet
