package bench

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"text/tabwriter"
)

// Report is all that was measured.
type Report struct {
	OK       bool    `json:"ok"`
	CPUs     int     `json:"cpus"`
	Clients  int     `json:"clients"`
	Window   int     `json:"window"`
	Payload  int     `json:"payload_bytes"`
	Batch    int     `json:"batch"`
	Rate     int     `json:"open_loop_rate"`
	SyncP50  float64 `json:"fdatasync_p50_us"` // the quietest of the run
	SyncMost float64 `json:"fdatasync_p50_most_us"`
	Items    []Item  `json:"items"`
}

// Item is one of Items, with all its pairs.
type Item struct {
	Name      string            `json:"name"`
	What      string            `json:"what"`
	Idle      map[string]Memory `json:"idle"`
	Pairs     []Pair            `json:"pairs"`
	Discarded int               `json:"discarded"` // pairs on a disk that was busy
	Noisy     bool              `json:"noisy"`     // all were: the figures are of all of them

	EchoRate Spread `json:"echo_per_second"`
	Accepts  Spread `json:"accepts_per_second"`
	EndToEnd Spread `json:"end_to_end_per_second"`
	OfEcho   Spread `json:"of_echo"` // end to end, or accepts where nothing ends, by the echo of the pair
	CPU      Spread `json:"cpu_us_per_intent"`
	EchoCPU  Spread `json:"cpu_us_per_echo"`
	Accept   Spread `json:"accept_p50_us"`
	ToApp    Spread `json:"to_app_p50_us"`
}

// Pair is a slot of the item beside one of the echo.
type Pair struct {
	Before    float64    `json:"fdatasync_p50_before_us"`
	After     float64    `json:"fdatasync_p50_after_us"`
	Discarded bool       `json:"discarded"`
	Echo      EchoSample `json:"echo"`
	Sample    Sample     `json:"sample"`
}

// Spread is a figure over pairs.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func newReport(o *Options) *Report {
	return &Report{
		OK: true, CPUs: runtime.NumCPU(), Clients: o.Clients, Window: o.Window, Payload: o.Payload, Batch: o.Batch, Rate: o.Rate, Items: []Item{},
	}
}

// summarize finds the quiet disk, discards what was not on it, and takes medians.
func (r *Report) summarize() {
	var canaries []float64
	for _, i := range r.Items {
		for _, p := range i.Pairs {
			canaries = append(canaries, p.Before, p.After)
		}
	}
	if len(canaries) == 0 {
		return
	}
	r.SyncP50, r.SyncMost = slices.Min(canaries), slices.Max(canaries)
	for n := range r.Items {
		r.Items[n].summarize(r.SyncP50 * discardAbove)
	}
}

func (i *Item) summarize(most float64) {
	var kept []Pair
	for n := range i.Pairs {
		p := &i.Pairs[n]
		if p.Discarded = max(p.Before, p.After) > most; p.Discarded {
			i.Discarded++
		} else {
			kept = append(kept, *p)
		}
	}
	if i.Noisy = len(kept) == 0; i.Noisy {
		kept = i.Pairs
	}
	over := func(figure func(Pair) float64) Spread { return spread(kept, figure) }
	i.EchoRate = over(func(p Pair) float64 { return p.Echo.Rate })
	i.Accepts = over(func(p Pair) float64 { return p.Sample.Rate })
	i.EndToEnd = over(func(p Pair) float64 { return p.Sample.EndRate })
	i.OfEcho = over(func(p Pair) float64 { return cmp.Or(p.Sample.EndRate, p.Sample.Rate) / p.Echo.Rate })
	i.CPU = over(func(p Pair) float64 { return total(p.Sample.CPU) })
	i.EchoCPU = over(func(p Pair) float64 { return total(p.Echo.CPU) })
	i.Accept = over(func(p Pair) float64 { return p.Sample.Accept.P50 })
	i.ToApp = over(func(p Pair) float64 { return p.Sample.ToApp.P50 })
}

func total(of map[string]float64) (sum float64) {
	for _, v := range of {
		sum += v
	}
	return sum
}

func spread(pairs []Pair, figure func(Pair) float64) Spread {
	var all []float64
	for _, p := range pairs {
		all = append(all, figure(p))
	}
	slices.Sort(all)
	middle := all[len(all)/2]
	if len(all)%2 == 0 {
		middle = (middle + all[len(all)/2-1]) / 2
	}
	return Spread{middle, all[0], all[len(all)-1]}
}

// Print writes the report for people: each pair, then what its item comes to.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "%d CPUs, payload %d bytes, %d clients; fdatasync of one writer p50 %.0f µs (%.0f at most)\n",
		r.CPUs, r.Payload, r.Clients, r.SyncP50, r.SyncMost)
	for i := range r.Items {
		if err := r.Items[i].print(w, r.SyncP50); err != nil {
			return err
		}
	}
	return nil
}

func (i *Item) print(w io.Writer, sync float64) error {
	fmt.Fprintf(w, "\n%s: %s\n", i.Name, i.What)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\taccept/s\tend/s\techo/s\tof echo\taccept p50\tp99\tto app p50\tp99 ms\tCPU µs home\tholder\tload\tall\tfaults home\tholder\tcommits/s home\tholder\tops each\tholder\tfdatasync µs\t")
	for n, p := range i.Pairs {
		s := p.Sample
		note := ""
		if p.Discarded {
			note = " discarded"
		}
		fmt.Fprintf(tw, "pair %d\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%s\t%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.0f\t%.0f\t%.1f\t%.1f\t%.0f–%.0f%s\t\n", n+1,
			s.Rate, s.EndRate, p.Echo.Rate, cmp.Or(s.EndRate, s.Rate)/p.Echo.Rate,
			millis(s.Accept.P50), millis(s.Accept.P99), millis(s.ToApp.P50), millis(s.ToApp.P99),
			s.CPU["home"], s.CPU["holder"], s.CPU["load"], total(s.CPU), s.Faults["home"], s.Faults["holder"],
			s.Commits["home"], s.Commits["holder"], s.Batch["home"], s.Batch["holder"], min(p.Before, p.After), max(p.Before, p.After), note)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "  end to end %s/s, accept %s/s, echo %s/s, of echo %s; CPU µs per intent %s, per echo %s\n",
		i.EndToEnd.text(0), i.Accepts.text(0), i.EchoRate.text(0), i.OfEcho.text(2), i.CPU.text(0), i.EchoCPU.text(0))
	fmt.Fprintf(w, "  accept p50 %.1f × fdatasync, to the app %.1f ×; %d pairs discarded", i.Accept.Median/sync, i.ToApp.Median/sync, i.Discarded)
	if i.Noisy {
		fmt.Fprint(w, ": all, so the figures are of a busy disk")
	}
	fmt.Fprintln(w)
	return i.printMemory(w)
}

func (i *Item) printMemory(w io.Writer) error {
	peak := map[string]Memory{}
	for _, p := range i.Pairs {
		for name, m := range p.Sample.Memory {
			peak[name] = Memory{max(peak[name].RSS, m.RSS), max(peak[name].Anon, m.Anon)}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(peak)) {
		if _, err := fmt.Fprintf(w, "  %s RssAnon %s MiB idle, %s loaded; RSS %s, %s\n", name,
			mib(i.Idle[name].Anon), mib(peak[name].Anon), mib(i.Idle[name].RSS), mib(peak[name].RSS)); err != nil {
			return err
		}
	}
	return nil
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

func millis(µs float64) string { return fmt.Sprintf("%.2f", µs/1000) }

func (s Spread) text(digits int) string {
	if s.Min == s.Max {
		return fmt.Sprintf("%.*f", digits, s.Median)
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}
