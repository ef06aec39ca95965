package mutants_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// baseline runs the named tests once on the tree as it is: a test that is red
// anyway would catch everything.
type baseline struct {
	copies chan string

	mu   sync.Mutex
	seen map[string]*verdict
}

// green runs the tests of a package in one go, which links it once. It reports
// whether all of them ran and passed; if not, each is looked at alone. The tests of
// real processes always are: of those only a part is run.
func (b *baseline) green(pkg string) bool {
	if pkg == inE2E {
		return false
	}
	return b.once(pkg, func() error {
		var names []string
		for _, m := range all {
			if name, _, _ := strings.Cut(m.test, "/"); m.pkg == pkg && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		dir := <-b.copies
		defer func() { b.copies <- dir }()
		out, err := goTool(dir, "test", "-v", "-vet=off", "-ldflags=-s -w", "-count=1", "-timeout", "10m", "-run", "^("+strings.Join(names, "|")+")$", pkg)
		if err == nil && bytes.Contains(out, []byte("--- SKIP")) {
			err = errSkipped
		}
		return err
	}) == nil
}

type verdict struct {
	once sync.Once
	err  error
}

func (b *baseline) check(m mutant) error {
	if b.green(m.pkg) {
		return nil
	}
	return b.once(m.pkg+" "+m.test, func() error {
		dir := <-b.copies
		defer func() { b.copies <- dir }()
		out, err := m.runTest(dir)
		if err != nil && !errors.Is(err, errSkipped) {
			return fmt.Errorf("%s of %s is red on the tree as it is: %w\n%s", m.test, m.pkg, err, out)
		}
		return err
	})
}

// once runs what is looked at, unless it was before.
func (b *baseline) once(what string, look func() error) error {
	b.mu.Lock()
	v := b.seen[what]
	if v == nil {
		v = &verdict{}
		b.seen[what] = v
	}
	b.mu.Unlock()
	v.once.Do(func() { v.err = look() })
	return v.err
}
