package xds

import "time"

// alarm makes sure that housekeep runs at t. Called with mu held.
func (c *Client) alarm(t time.Time) {
	if c.mu.alarmAt.IsZero() || t.Before(c.mu.alarmAt) {
		c.mu.alarmAt = t
		poke(c.wake)
	}
}

// housekeep acts on what time has brought and returns how long there is until the
// next of it.
func (c *Client) housekeep(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.alarmAt.IsZero() || now.Before(c.mu.alarmAt) {
		return c.untilAlarm(now)
	}
	c.mu.alarmAt = time.Time{}
	var news []*resource
	for _, byName := range c.mu.resources {
		for _, r := range byName {
			if !r.gone.IsZero() && r.kind != secret { // a bundle is replaced, and never taken back
				if end := r.gone.Add(c.o.grace()); now.Before(end) {
					c.alarm(end)
				} else {
					c.log.Warn("what the control plane deleted is no longer used", "resource", kinds[r.kind].word, "name", r.name)
					r.drop()
					news = append(news, r)
				}
			}
			// A server that has said nothing at all is dead, not empty.
			if end := r.overdue(c.o.NotFoundAfter); !end.IsZero() && c.live() {
				if now.Before(end) {
					c.alarm(end)
				} else {
					news = c.remove(r.kind, r.name, now, news)
				}
			}
		}
	}
	c.refresh(news, now)
	c.look(now)
	if c.live() && !c.mu.saved.IsZero() {
		if at := c.mu.saved.Add(rewriteEvery); now.Before(at) {
			c.alarm(at)
		} else {
			c.mu.dirty = true
			poke(c.write)
		}
	}
	return c.untilAlarm(now)
}

// look swaps in what has waited too long to be whole, and ends the subscriptions
// nobody needs. Whoever watches the directory is woken once before: it asks again
// for whatever it has something for. Called with mu held.
func (c *Client) look(now time.Time) {
	changed := false
	for _, a := range c.mu.agents {
		if !a.cold.IsZero() {
			if end := a.cold.Add(warmWithin); now.Before(end) {
				c.alarm(end)
			} else {
				changed = c.assemble(a, now) || changed
			}
		}
		switch idle := a.asked.Add(c.o.IdleAfter); {
		case now.Before(idle):
			c.alarm(idle.Add(sweepEvery).Truncate(sweepEvery)) // many at once
		case a.probed.IsZero():
			a.probed, changed = now, true
			c.alarm(now.Add(sweepEvery))
		case now.Before(a.probed.Add(sweepEvery)):
			c.alarm(a.probed.Add(sweepEvery))
		default:
			c.forget(a)
			c.mu.full = false
			poke(c.write)
		}
	}
	if changed {
		c.announceChange()
	}
}

func (c *Client) untilAlarm(now time.Time) time.Duration {
	if c.mu.alarmAt.IsZero() {
		return time.Hour
	}
	return max(0, c.mu.alarmAt.Sub(now))
}
