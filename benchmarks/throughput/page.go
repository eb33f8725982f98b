package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
)

// page is all results of a run; it is throughput.json as it is, and throughput.md
// rendered.
type page struct {
	Machine  bench.Machine `json:"machine"`
	Quick    bool          `json:"quick"`
	Only     []string      `json:"only,omitempty"`
	Seconds  float64       `json:"seconds"`
	Failures []string      `json:"failures"`
	Targets  []target      `json:"targets"`

	EventBytes     float64 `json:"mean_source_event_bytes"`
	CanonicalBytes float64 `json:"mean_canonical_event_bytes"`
	RowBytes       float64 `json:"bytes_on_the_wire_per_row"`

	Stages   []speed     `json:"stages"`
	Memory   []footprint `json:"memory"`
	Restores []restoring `json:"restores"`
	EndToEnd []endToEnd  `json:"end_to_end"`
	Latency  []latency   `json:"alert_latency"`
	Profiles []profile   `json:"profiles"`
}

func (p *page) add(s ...speed) { p.Stages = append(p.Stages, s...) }

func (p *page) markdown() *bench.Page {
	w := &bench.Page{}
	w.Line("# Speed and size\n")
	m := &p.Machine
	w.Line("%s, %d cores, %s of memory, %s, %s. %s. %s, %.0f s.", m.CPU, m.Cores, size(m.Memory), m.OS, m.Go, m.Source(), m.Date.Format("2006-01-02 15:04 MST"), p.Seconds)
	w.Line("Load average %.1f before and %.1f after. `%s`", m.LoadBefore, m.LoadAfter, m.Command)
	if p.Quick {
		w.Line("\nA quick run: small rounds and young baselines; no figure to quote.")
	}
	if len(p.Only) > 0 {
		w.Line("\nA part only: %s.", strings.Join(p.Only, ", "))
	}
	for _, f := range p.Failures {
		w.Line("\n**Failed**: %s", strings.ReplaceAll(f, "\n", "\n    "))
	}
	p.targetTable(w)
	p.stageTable(w)
	p.endToEndTable(w)
	p.latencyTable(w)
	p.memoryTable(w)
	p.profileTables(w)
	return w
}

func (p *page) targetTable(w *bench.Page) {
	w.Line("\n## Targets")
	w.Table("what", "target", "measured", "met?")
	for _, t := range p.Targets {
		w.Row(t.What, t.Want, t.Have, t.Verdict)
	}
}

func (p *page) stageTable(w *bench.Page) {
	if len(p.Stages) == 0 {
		return
	}
	w.Line("\n## Stages, one core each")
	w.Line("\nCPU time of the process with GOMAXPROCS=1, collection included: median (smallest to largest) of %d rounds. \"Of decoding\" is the rate beside that of", p.Stages[0].Rounds)
	w.Line("decoding the same bytes alone in the same rounds. Of detection it is the mean of all rounds, since windows are closed at the turn of the hour, in one round and not in")
	w.Line("the next; and where no collection fell into the rounds, what one would cost is added.")
	if p.EventBytes > 0 {
		w.Line("The events are those of the fleet generator: in the public form %.0f bytes on average, in the canonical form %.0f.", p.EventBytes, p.CanonicalBytes)
	}
	if p.RowBytes > 0 {
		w.Line("A row of `activity` is %.0f bytes on the wire (LZ4).", p.RowBytes)
	}
	w.Table("stage", "units/s per core", "CPU ns a unit", "of decoding", "allocs a unit", "bytes a unit", "collections")
	for i := range p.Stages {
		s := &p.Stages[i]
		share := "-"
		if s.ShareOfDecode.Median > 0 {
			share = fmt.Sprintf("%.0f %% (%.0f-%.0f)", 100*s.ShareOfDecode.Median, 100*s.ShareOfDecode.Min, 100*s.ShareOfDecode.Max)
		}
		gc := strconv.FormatUint(uint64(s.GCs), 10)
		if s.GCNanos > 0 {
			gc = fmt.Sprintf("0; %.0f ns a unit added", s.GCNanos)
		}
		w.Row(s.Name, fmt.Sprintf("%s (%s-%s)", rate(s.rate()), rate(s.PerSecond.Min), rate(s.PerSecond.Max)),
			fmt.Sprintf("%.0f (%.0f-%.0f)", s.nanos(), s.CPUNanos.Min, s.CPUNanos.Max), share,
			fmt.Sprintf("%.2f", s.Allocs), fmt.Sprintf("%.0f", s.Bytes), gc)
	}
	w.Line("")
	for i := range p.Stages {
		w.Line("- **%s** (%ss, %s a round): %s.", p.Stages[i].Name, p.Stages[i].Unit, thousands(p.Stages[i].Units), p.Stages[i].What)
	}
}

func (p *page) endToEndTable(w *bench.Page) {
	if len(p.EndToEnd) == 0 {
		return
	}
	w.Line("\n## The whole service")
	w.Line("\n`plumbline run`, all roles, one partition: the events wait in the source topic; the clock runs from when route joins its group until the views hold every event")
	w.Line("and every alert and all windows are inserted. CPU an event, of each process; start-up apart. ClickHouse is the embedded engine in its child process. The")
	w.Line("broker is the embedded one: in a process of its own, so that it is not counted, and, for comparison, in the service's own process, where its work is part of the service's figure.")
	w.Table("", "events", "alerts", "windows", "service ns", "broker ns", "engine ns", "events/s per core of the service", "wall clock s", "start-up CPU s", "peak memory")
	for i := range p.EndToEnd {
		e := &p.EndToEnd[i]
		brokerNS := fmt.Sprintf("%.0f", e.BrokerNanos)
		if e.BrokerNanos == 0 {
			brokerNS = "in the service"
		}
		w.Row(e.Name, thousands(e.Stored), thousands(e.Alerts), thousands(e.Window), fmt.Sprintf("%.0f", e.ServiceNanos), brokerNS, fmt.Sprintf("%.0f", e.EngineNanos),
			rate(e.PerSecond), fmt.Sprintf("%.1f", e.Seconds), fmt.Sprintf("%.2f", e.Startup), size(e.PeakMemory))
	}
}

func (p *page) latencyTable(w *bench.Page) {
	if len(p.Latency) == 0 {
		return
	}
	w.Line("\n## Alert latency")
	w.Line("\nFrom the broker's append time of a record to that of the alert that it completed, in milliseconds: from the source record (through route and detect), and from the record")
	w.Line("in `plumbline.activity` (detect alone). Sender, broker, service and engine share the machine. %.1f alerts per agent-day are allowed, so that there are enough to", latencyBudget)
	w.Line("speak of a percentile. \"Own p99\" is the bucket of `plumbline_alert_latency_seconds` that holds it, the acknowledgement included.")
	w.Table("roles", "offered/s", "sent/s", "s", "alerts", "source p50", "p99", "max", "activity p50", "p99", "max", "own p99", "caught up after s")
	ms := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	for i := range p.Latency {
		l := &p.Latency[i]
		own := "<= " + ms(l.OwnP99)
		if l.OwnP99 < 0 {
			own = "beyond the last bucket"
		}
		w.Row(l.Roles, thousands(int(l.Offered)), thousands(int(l.Achieved)), ms(l.Seconds), thousands(l.Alerts),
			ms(l.FromSource.P50), ms(l.FromSource.P99), ms(l.FromSource.Max),
			ms(l.FromActivity.P50), ms(l.FromActivity.P99), ms(l.FromActivity.Max), own, fmt.Sprintf("%.1f", l.CatchUp))
	}
}

func (p *page) memoryTable(w *bench.Page) {
	if len(p.Memory) > 0 {
		w.Line("\n## Memory of an agent")
		w.Line("\nLive heap after collection divided by the agents that the detector knows, beside what `Stats().StateBytes` says. The heap itself is up to twice that between")
		w.Line("collections (GOGC=100). An agent grows with its history, so that the events it has had stand beside it.")
		w.Table("agents", "events an agent", "heap bytes an agent", "stated bytes an agent")
		for _, f := range p.Memory {
			w.Row(thousands(f.Agents), fmt.Sprintf("%.1f", f.EventsPerAgent), fmt.Sprintf("%.0f", f.HeapBytes), fmt.Sprintf("%.0f", f.StatedBytes))
		}
	}
	if len(p.Restores) > 0 {
		w.Line("\nThe state of a whole detector, from memory to memory on one core; reading it from Kafka comes on top.")
		w.Table("agents", "bytes an agent", "write, CPU s", "restore, CPU s")
		for _, r := range p.Restores {
			w.Row(thousands(r.Agents), fmt.Sprintf("%.0f", r.BytesPerAgent), fmt.Sprintf("%.2f", r.WriteSeconds), fmt.Sprintf("%.2f", r.ReadSeconds))
		}
	}
}

func (p *page) profileTables(w *bench.Page) {
	if len(p.Profiles) == 0 {
		return
	}
	w.Line("\n## Where the time goes")
	for _, pr := range p.Profiles {
		w.Line("\n### %s", pr.Name)
		w.Line("\n`go tool pprof -top`, by the time in the function itself, and with what it calls.\n\n```\n%s```\n\n```\n%s```", pr.Top, pr.Cum)
	}
}

// rate writes a number of units a second.
func rate(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0fk", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

// thousands writes an integer with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(bytes float64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", bytes/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.0f MiB", bytes/(1<<20))
	}
	return fmt.Sprintf("%.0f bytes", bytes)
}
