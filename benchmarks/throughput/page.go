package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// page is all results of a run; it is throughput.json as it is, and throughput.md
// rendered.
type page struct {
	Machine  machine  `json:"machine"`
	Quick    bool     `json:"quick"`
	Only     []string `json:"only,omitempty"`
	Seconds  float64  `json:"seconds"`
	Failures []string `json:"failures"`
	Targets  []target `json:"targets"`

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

// write writes both forms into dir, or the page to stdout where dir is empty.
func (p *page) write(dir string, stdout io.Writer) error {
	md := p.markdown()
	if dir == "" {
		_, err := stdout.Write(md)
		return err
	}
	js, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a directory of the repository
		return fmt.Errorf("results: %w", err)
	}
	for name, b := range map[string][]byte{"throughput.md": md, "throughput.json": append(js, '\n')} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil { //nolint:gosec // a file of the repository
			return fmt.Errorf("results: %w", err)
		}
	}
	return nil
}

// writer renders Markdown.
type writer struct{ bytes.Buffer }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *writer) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", "\\|")
	}
	w.line("| %s |", strings.Join(cells, " | "))
}

func (w *writer) head(cells ...string) {
	w.line("")
	w.row(cells...)
	w.line("|%s", strings.Repeat("---|", len(cells)))
}

func (p *page) markdown() []byte {
	w := &writer{}
	w.line("# Speed and size\n")
	m := &p.Machine
	commit := m.Commit
	if m.Modified {
		commit += ", with uncommitted changes"
	}
	w.line("%s, %d cores, %s of memory, %s, %s. Commit %s. %s, %.0f s.", m.CPU, m.Cores, size(m.Memory), m.OS, m.Go, commit, m.Date.Format("2006-01-02 15:04 MST"), p.Seconds)
	w.line("Load average %.1f before and %.1f after. `%s`", m.LoadBefore, m.LoadAfter, m.Command)
	if p.Quick {
		w.line("\nA quick run: small rounds and young baselines; no figure to quote.")
	}
	if len(p.Only) > 0 {
		w.line("\nA part only: %s.", strings.Join(p.Only, ", "))
	}
	for _, f := range p.Failures {
		w.line("\n**Failed**: %s", strings.ReplaceAll(f, "\n", "\n    "))
	}
	p.targetTable(w)
	p.stageTable(w)
	p.endToEndTable(w)
	p.latencyTable(w)
	p.memoryTable(w)
	p.profileTables(w)
	return w.Bytes()
}

func (p *page) targetTable(w *writer) {
	w.line("\n## Targets")
	w.head("what", "target", "measured", "met?")
	for _, t := range p.Targets {
		w.row(t.What, t.Want, t.Have, t.Verdict)
	}
}

func (p *page) stageTable(w *writer) {
	if len(p.Stages) == 0 {
		return
	}
	w.line("\n## Stages, one core each")
	w.line("\nCPU time of the process with GOMAXPROCS=1, collection included: median (smallest to largest) of %d rounds. \"Of decoding\" is the rate beside that of", p.Stages[0].Rounds)
	w.line("decoding the same bytes alone in the same rounds. Of detection it is the mean of all rounds, since windows are closed at the turn of the hour, in one round and not in")
	w.line("the next; and where no collection fell into the rounds, what one would cost is added.")
	if p.EventBytes > 0 {
		w.line("The events are those of the fleet generator: in the public form %.0f bytes on average, in the canonical form %.0f.", p.EventBytes, p.CanonicalBytes)
	}
	if p.RowBytes > 0 {
		w.line("A row of `activity` is %.0f bytes on the wire (LZ4).", p.RowBytes)
	}
	w.head("stage", "units/s per core", "CPU ns a unit", "of decoding", "allocs a unit", "bytes a unit", "collections")
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
		w.row(s.Name, fmt.Sprintf("%s (%s-%s)", rate(s.rate()), rate(s.PerSecond.Min), rate(s.PerSecond.Max)),
			fmt.Sprintf("%.0f (%.0f-%.0f)", s.nanos(), s.CPUNanos.Min, s.CPUNanos.Max), share,
			fmt.Sprintf("%.2f", s.Allocs), fmt.Sprintf("%.0f", s.Bytes), gc)
	}
	w.line("")
	for i := range p.Stages {
		w.line("- **%s** (%ss, %s a round): %s.", p.Stages[i].Name, p.Stages[i].Unit, thousands(p.Stages[i].Units), p.Stages[i].What)
	}
}

func (p *page) endToEndTable(w *writer) {
	if len(p.EndToEnd) == 0 {
		return
	}
	w.line("\n## The whole service")
	w.line("\n`plumbline run`, all roles, one partition: the events wait in the source topic; the clock runs from when route joins its group until the views hold every event")
	w.line("and every alert and all windows are inserted. CPU an event, of each process; start-up apart. ClickHouse is the embedded engine in its child process. The")
	w.line("broker is the embedded one: in a process of its own, so that it is not counted, and, for comparison, in the service's own process, where its work is part of the service's figure.")
	w.head("", "events", "alerts", "windows", "service ns", "broker ns", "engine ns", "events/s per core of the service", "wall clock s", "start-up CPU s", "peak memory")
	for i := range p.EndToEnd {
		e := &p.EndToEnd[i]
		brokerNS := fmt.Sprintf("%.0f", e.BrokerNanos)
		if e.BrokerNanos == 0 {
			brokerNS = "in the service"
		}
		w.row(e.Name, thousands(e.Stored), thousands(e.Alerts), thousands(e.Window), fmt.Sprintf("%.0f", e.ServiceNanos), brokerNS, fmt.Sprintf("%.0f", e.EngineNanos),
			rate(e.PerSecond), fmt.Sprintf("%.1f", e.Seconds), fmt.Sprintf("%.2f", e.Startup), size(e.PeakMemory))
	}
}

func (p *page) latencyTable(w *writer) {
	if len(p.Latency) == 0 {
		return
	}
	w.line("\n## Alert latency")
	w.line("\nFrom the broker's append time of a record to that of the alert that it completed, in milliseconds: from the source record (through route and detect), and from the record")
	w.line("in `plumbline.activity` (detect alone). Sender, broker, service and engine share the machine. %.1f alerts per agent-day are allowed, so that there are enough to", latencyBudget)
	w.line("speak of a percentile. \"Own p99\" is the bucket of `plumbline_alert_latency_seconds` that holds it, the acknowledgement included.")
	w.head("roles", "offered/s", "sent/s", "s", "alerts", "source p50", "p99", "max", "activity p50", "p99", "max", "own p99", "caught up after s")
	ms := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	for i := range p.Latency {
		l := &p.Latency[i]
		own := "<= " + ms(l.OwnP99)
		if l.OwnP99 < 0 {
			own = "beyond the last bucket"
		}
		w.row(l.Roles, thousands(int(l.Offered)), thousands(int(l.Achieved)), ms(l.Seconds), thousands(l.Alerts),
			ms(l.FromSource.P50), ms(l.FromSource.P99), ms(l.FromSource.Max),
			ms(l.FromActivity.P50), ms(l.FromActivity.P99), ms(l.FromActivity.Max), own, fmt.Sprintf("%.1f", l.CatchUp))
	}
}

func (p *page) memoryTable(w *writer) {
	if len(p.Memory) > 0 {
		w.line("\n## Memory of an agent")
		w.line("\nLive heap after collection divided by the agents that the detector knows, beside what `Stats().StateBytes` says. The heap itself is up to twice that between")
		w.line("collections (GOGC=100). An agent grows with its history, so that the events it has had stand beside it.")
		w.head("agents", "events an agent", "heap bytes an agent", "stated bytes an agent")
		for _, f := range p.Memory {
			w.row(thousands(f.Agents), fmt.Sprintf("%.1f", f.EventsPerAgent), fmt.Sprintf("%.0f", f.HeapBytes), fmt.Sprintf("%.0f", f.StatedBytes))
		}
	}
	if len(p.Restores) > 0 {
		w.line("\nThe state of a whole detector, from memory to memory on one core; reading it from Kafka comes on top.")
		w.head("agents", "bytes an agent", "write, CPU s", "restore, CPU s")
		for _, r := range p.Restores {
			w.row(thousands(r.Agents), fmt.Sprintf("%.0f", r.BytesPerAgent), fmt.Sprintf("%.2f", r.WriteSeconds), fmt.Sprintf("%.2f", r.ReadSeconds))
		}
	}
}

func (p *page) profileTables(w *writer) {
	if len(p.Profiles) == 0 {
		return
	}
	w.line("\n## Where the time goes")
	for _, pr := range p.Profiles {
		w.line("\n### %s", pr.Name)
		w.line("\n`go tool pprof -top`, %.1f s of CPU time: in the function itself, and with what it calls.", pr.Seconds)
		for _, table := range [][]function{pr.Top, pr.Cum} {
			w.head("itself", "with callees", "function")
			for _, f := range table {
				w.row(fmt.Sprintf("%.1f %%", 100*f.Flat), fmt.Sprintf("%.1f %%", 100*f.Cum), "`"+f.Name+"`")
			}
		}
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
