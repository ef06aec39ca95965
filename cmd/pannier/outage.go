package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/journal/state"
	"pannier/proxy"
)

func outageDemo() *cli.Command {
	return &cli.Command{
		Name: "outage", Usage: "billing is down while orders sends to it: a breaker opens, billing comes back, nothing is lost",
		Action: func(c *cli.Context) error { return demonstrate(c, outagePlay) },
	}
}

const (
	outageBefore = 5  // intents while all is well
	outageDuring = 20 // while billing is down
	outageTrip   = 3  // failures in a row that open the breaker
	// outagePatience is only so that a demo of something broken ends.
	outagePatience = 5 * time.Minute
	outageLook     = 20 * time.Millisecond
)

func outagePlay(ctx context.Context, s *stage) error {
	ctx, cancel := context.WithTimeout(ctx, outagePatience)
	defer cancel()
	before, err := s.sendMany(ctx, outageBefore)
	if err != nil {
		return err
	}
	given, err := s.work(ctx, len(before))
	if err != nil {
		return err
	}
	s.say("1. All is well: orders sends %d, billing's app takes and acknowledges %d.", len(before), len(given))

	if err := s.billing.leave(); err != nil {
		return err
	}
	s.say("2. billing's sidecar at %s is stopped, and orders goes on.", s.billing.info.Peer)
	during, err := s.sendMany(ctx, outageDuring)
	if err != nil {
		return err
	}
	s.say("   %d more are accepted: each has its 200 when it is on the disk of orders, and needs nobody else.", len(during))

	var why reason
	if err := until(ctx, func() (met bool, err error) {
		why, err = s.why(ctx, during[0])
		return len(why.Causes) > 0 && why.Causes[0].Code == state.CauseBreakerOpen.String(), err
	}); err != nil {
		return fmt.Errorf("wait for the breaker to open: %w", err)
	}
	s.say("3. After %d failures in a row the breaker opens, and billing is left alone for a while. pannier why says:", outageTrip)
	s.say("     %s", why.Text)

	was := s.billing.info.Peer
	if s.billing, err = s.start(ctx, "billing", func(o *proxy.Options) { o.Peer = was }); err != nil {
		return listenError(err, "run the demo again")
	}
	s.say("4. billing is started again. Nobody tells orders: it tries again, and finds it.")
	again, err := s.work(ctx, len(during))
	if err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) { return s.breakerIs(ctx, "closed") }); err != nil {
		return fmt.Errorf("wait for the breaker to close: %w", err)
	}
	most := 0
	for _, n := range again {
		most = max(most, n)
	}
	s.say("   The breaker is closed; billing's app was given %d, each %s.", len(again), times(most))
	return s.count(ctx, append(before, during...))
}

func (s *stage) sendMany(ctx context.Context, n int) (ids []string, err error) {
	for i := range n {
		id, err := s.send(ctx, createBody{IntentType: defaultType, ToAgent: "billing", Payload: fmt.Appendf(nil, `{"order_id":"ORD-%d"}`, i+1)})
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// until looks again and again until something is as it should be.
func until(ctx context.Context, met func() (bool, error)) error {
	for {
		if yes, err := met(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(outageLook):
		}
	}
}

// breakerIs looks at the breaker for billing's sidecar at orders, the only one there.
func (s *stage) breakerIs(ctx context.Context, want string) (bool, error) {
	answer, err := s.orders.admin.call(ctx, request{doing: "look at the breaker", method: http.MethodGet, path: "/v1/admin/peers"})
	if err != nil {
		return false, err
	}
	var all peersAnswer
	if err := json.Unmarshal(answer, &all); err != nil {
		return false, err
	}
	return len(all.Peers) == 1 && all.Peers[0].Breaker == want, nil
}

// count waits for each to have ended, and says how.
func (s *stage) count(ctx context.Context, ids []string) error {
	ends := map[string]int{}
	for _, id := range ids {
		last, err := s.orders.follow(ctx, id, 0, func(event) error { return nil })
		if err != nil {
			return err
		}
		ends[last.Status]++
	}
	s.say("5. Of %d intents that were sent %d are COMPLETED, %d are not.", len(ids), ends[state.Completed.String()], len(ids)-ends[state.Completed.String()])
	s.say("An outage is no failed attempt of an intent, and ends none. Nothing of this is kept.")
	return nil
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
