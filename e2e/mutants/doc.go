// Package mutants tests the tests. Each mutant is one small patch that
// switches one guard off: a sync, a fence, a check. The named test, the smallest
// that stands for that guard, must go red with it, and be green without. A patch
// whose old text is no longer found exactly once fails too: whoever moves a
// guard takes its mutant along.
//
// All patches inside functions are woven into one copy of the tree, which is
// built once; an environment variable says which of them runs. The few others
// are applied one at a time.
//
//	go test -v ./e2e/mutants
//	go test -v ./e2e/mutants -run 'TestMutants/each/no_lease_fence'
package mutants
