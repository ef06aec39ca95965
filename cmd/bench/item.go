package bench

import (
	"context"
	"slices"
)

// An item is one way to send and receive that is measured.
type item struct {
	name    string
	what    string
	push    bool // the app receives by http
	receive func(context.Context, *app)
	batch   bool // intents are sent in batches
	window  bool // no more is open than Clients × Window
	endless bool // what is open when the posting ends is left
	paced   bool // open loop
}

var items = []item{
	{name: "accept", what: "POST to 200; nobody receives", endless: true},
	{name: "webhook", what: "one POST, one request to the app", push: true, window: true},
	{name: "poll", what: "one POST, one settle; polls of 8", receive: pollSingly, window: true},
	{name: "poll-batch", what: "one POST, settles batched; polls of 64", receive: pollBatches, window: true},
	{name: "stream-batch", what: "one POST, settles batched; streams", receive: streamBatches, window: true},
	{name: "batch", what: "POST of a batch, settles batched; polls of 256", receive: pollLarge, batch: true, window: true},
	{name: "latency", what: "one POST, one request to the app, at a fixed rate", push: true, paced: true},
	{name: "overload", what: "as webhook, posting as fast as home accepts", push: true, endless: true},
}

// ItemNames are the names of all items, in their order.
func ItemNames() []string {
	var names []string
	for _, i := range items {
		names = append(names, i.name)
	}
	return names
}

func (o *Options) items() []item {
	var chosen []item
	for _, i := range items {
		if len(o.Items) == 0 || slices.Contains(o.Items, i.name) {
			chosen = append(chosen, i)
		}
	}
	return chosen
}
