// Package tools holds tests that need more of the world than Pannier does: what
// renders and checks its charts is a module of its own, so that the program's
// own go.mod names nothing of it.
//
//	charts/*/ci/*-values.yaml ──helm 3, helm 4──▶ text ──▶ golden files
//	                                               └─strict─▶ objects ──▶ what must hold of them
//
// helm is a library here: its lint and its engine, without the parts that talk to a
// cluster or a registry. Versions that both modules need are pinned to those of the
// other go.mod: what it has compiled is not compiled again.
//
// After a change of a chart: go test ./ -update, and read the difference.
//
// What it does not do: nothing is installed in a cluster.
package tools
