package e2e_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// writePlaces replaces the file of a control plane that says where billing is.
func writePlaces(t testing.TB, path string, places ...string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"agents": map[string]any{billing: places}})
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, path, text)
}

// TestKilledWhileKeepingTheLastKnownGood: home is killed before each call that
// writes the file of what the control plane says, and starts with no control plane
// in reach. It knows what was in the file before, or what was to be in it: all of
// that, and never nothing.
func TestKilledWhileKeepingTheLastKnownGood(t *testing.T) {
	t.Parallel()
	need(t, true, "strace")
	holder := start(t, setup{name: "holder", agents: []string{billing}})
	places := filepath.Join(t.TempDir(), "places.yaml")
	nobody := freeAddr(t)
	both := [][]string{{holder.peer}, {holder.peer, nobody}}
	writePlaces(t, places, both[0]...)
	p := newPlane(t, nil, "--source", "file="+places)
	p.start()
	home := newSidecar(t, setup{name: "home", agents: []string{shop}})
	file := filepath.Join(home.dir, "xds")

	written, directory := []string{file, file + ".new"}, []string{home.dir}
	kept := map[bool]int{} // by whether it is what came last
	steps := []struct {
		call string
		at   []string
	}{
		{"openat", written},
		{"write", written},
		{"fsync", written},
		{"close", written},
		{"renameat", written},
		{"fsync", directory},
	}
	// The last one again where each kill met a write that something else was the
	// reason of.
	for i := 0; i < len(steps) || kept[true] == 0 && i < 2*len(steps); i++ {
		step := steps[min(i, len(steps)-1)]
		before, after := both[i%2], both[(i+1)%2]
		home.set.args = []string{"--xds", p.addr}
		home.start()
		carry(t, home, holder)
		home.sees(before...)
		home.keeps()
		args := []string{"-e", "trace=" + step.call, "-e", "inject=" + step.call + ":signal=SIGKILL:when=1"}
		for _, path := range step.at {
			args = append(args, "-P", path)
		}
		log, _ := traced(t, home, args...)
		writePlaces(t, places, after...)
		home.awaitExit()
		if sig := home.killedBySignal(); sig != syscall.SIGKILL {
			t.Fatalf("%s: ended by %v", step.call, home.proc.cmd.ProcessState)
		}
		if text := readAll(log); !strings.Contains(text, step.call+"(") {
			t.Fatalf("killed elsewhere than in %s:\n%s", step.call, text)
		}

		home.set.args = []string{"--xds", nobody}
		home.start()
		got, err := home.endpoints()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(before)
		slices.Sort(after)
		if !slices.Equal(got, before) && !slices.Equal(got, after) {
			t.Fatalf("killed before %s of %v: billing is at %v, want %v or %v", step.call, step.at, got, before, after)
		}
		kept[slices.Equal(got, after)]++
		carry(t, home, holder)
		home.kill()
	}
	if kept[false] == 0 || kept[true] == 0 {
		t.Errorf("the file was what came last after %d kills, and what was before after %d: want some of both", kept[true], kept[false])
	}
	t.Logf("figure: of %d kills while the last known good is written, %d left the one before and %d the new one", kept[false]+kept[true], kept[false], kept[true])
}
