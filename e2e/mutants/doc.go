// Package mutants tests the tests. Each mutant is one small patch that
// switches one guard off: a sync, a fence, a check. It is applied to a copy of
// the tree, and the named test, the smallest that stands for that guard, must
// go red there; the same test must be green on the copy as it is. A patch
// whose old text is no longer found exactly once fails too: whoever moves a
// guard takes its mutant along.
//
//	go test -v ./e2e/mutants
//	go test -v ./e2e/mutants -run 'TestMutants/no_lease_fence'
package mutants
