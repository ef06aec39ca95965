package mutants_test

import (
	"errors"
	"fmt"
	"sync"
)

// baseline runs each named test once on the tree as it is: a test that is red
// anyway would catch everything.
type baseline struct {
	copies chan string

	mu   sync.Mutex
	seen map[string]*verdict
}

type verdict struct {
	once sync.Once
	err  error
}

func (b *baseline) check(m mutant) error {
	b.mu.Lock()
	v := b.seen[m.pkg+" "+m.test]
	if v == nil {
		v = &verdict{}
		b.seen[m.pkg+" "+m.test] = v
	}
	b.mu.Unlock()
	v.once.Do(func() {
		dir := <-b.copies
		defer func() { b.copies <- dir }()
		if out, err := m.runTest(dir); errors.Is(err, errSkipped) {
			v.err = err
		} else if err != nil {
			v.err = fmt.Errorf("%s of %s is red on the tree as it is: %w\n%s", m.test, m.pkg, err, out)
		}
	})
	return v.err
}
