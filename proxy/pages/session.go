package pages

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"
)

const (
	// sessionFor is how long somebody stays logged in, whatever they do meanwhile.
	sessionFor = 12 * time.Hour
	// maxSessions of one person are open at once: one more ends the oldest of theirs.
	maxSessions = 8
	// maxAllSessions bounds those of people who have left the roll meanwhile, too.
	maxAllSessions = 10_000
)

// sessionKey is the hash of what a cookie has: who reads our memory cannot log in with it.
// The zero key is that of no session.
type sessionKey = [sha256.Size]byte

// sessions are of people who logged in with a token. They are in memory alone: a log-out is
// for good, no secret is on the disk or in a backup, and after a restart everybody logs in
// again.
type sessions struct {
	mu   sync.Mutex
	open map[sessionKey]session
}

type session struct {
	mark  [sha256.Size]byte // of whose it is
	until time.Time
}

func newSessions() *sessions { return &sessions{open: map[sessionKey]session{}} }

// begin opens a session, of a new name in any case: one that somebody else has put into
// the browser before does not become theirs.
func (s *sessions) begin(p *Person, now time.Time) (cookie string) {
	name := make([]byte, sha256.Size)
	_, _ = rand.Read(name) // it never fails
	cookie = base64.RawURLEncoding.EncodeToString(name)
	mark := p.mark()
	s.mu.Lock()
	defer s.mu.Unlock()
	var own int
	var oldest, first sessionKey // of theirs, of all
	for key, of := range s.open {
		if !now.Before(of.until) {
			delete(s.open, key)
			continue
		}
		if first == (sessionKey{}) || of.until.Before(s.open[first].until) {
			first = key
		}
		if of.mark != mark {
			continue
		}
		own++
		if oldest == (sessionKey{}) || of.until.Before(s.open[oldest].until) {
			oldest = key
		}
	}
	switch {
	case own >= maxSessions:
		delete(s.open, oldest)
	case len(s.open) >= maxAllSessions:
		delete(s.open, first)
	}
	s.open[keyOf(cookie)] = session{mark, now.Add(sessionFor)}
	return cookie
}

func keyOf(cookie string) sessionKey { return sha256.Sum256([]byte(cookie)) }

// find returns whose session it is. One of somebody who is no longer on the roll, or not
// with that token, ends here.
func (s *sessions) find(cookie string, roll *Roll, now time.Time) (*Person, sessionKey) {
	key := keyOf(cookie)
	s.mu.Lock()
	defer s.mu.Unlock()
	of, known := s.open[key]
	if !known {
		return nil, sessionKey{}
	}
	p := roll.byMark[of.mark]
	if p == nil || !now.Before(of.until) {
		delete(s.open, key)
		return nil, sessionKey{}
	}
	return p, key
}

func (s *sessions) end(key sessionKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, key)
}
