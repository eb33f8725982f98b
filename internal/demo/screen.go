package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// screen shows a demo: alerts as they come, and below them, on a terminal, one
// line that says what is happening now. Elsewhere that line comes every few
// seconds.
type screen struct {
	w        io.Writer
	terminal bool
	color    bool
	width    int
	quiet    bool

	mu      sync.Mutex
	what    string // phase
	days    int    // of the phase
	from    schemas.Millis
	now     schemas.Millis
	status  bool // a status line stands
	gap     bool // the last line was empty
	drawn   time.Time
	rate    float64
	rateAt  time.Time
	rateNum int64
	shown   map[string]string // of an episode: severity and title of its last line
}

func newScreen(o Options) *screen {
	return &screen{w: o.Out, terminal: o.Terminal, color: o.Color, width: min(max(o.Width, 60), 160), quiet: o.Quiet, shown: make(map[string]string)}
}

// Styles; empty where there is no colour.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	yellow = "33"
	green  = "32"
	cyan   = "36"
)

// line prints a line that stays. The caller holds the lock.
func (s *screen) line(text string) {
	if s.quiet {
		return
	}
	if s.status {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.status = false
	}
	fmt.Fprintln(s.w, text)
	s.gap = text == ""
}

// draw shows the status line.
func (s *screen) draw(text string) {
	if s.quiet {
		return
	}
	if !s.terminal {
		fmt.Fprintln(s.w, text)
		return
	}
	fmt.Fprint(s.w, "\r"+cut(text, s.width-1)+"\x1b[K")
	s.status = true
}

func (s *screen) title(o Options, f *simulator.Fleet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line(terminal.Paint(s.color, bold, "Plumbline demo") + fmt.Sprintf("  %d agents, %d days of history, then %d days live in %s, seed %d",
		len(f.Agents()), o.History, o.Live, o.Duration, o.Seed))
	s.line(terminal.Paint(s.color, dim, "The service is real, on embedded Kafka and ClickHouse; the fleet is simulated."))
	s.line("")
}

// stage says what is being waited for.
func (s *screen) stage(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw(terminal.Paint(s.color, dim, text+" ..."))
}

// phase begins the history or the live part.
func (s *screen) phase(what string, days int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if what == "live" {
		s.line(terminal.Paint(s.color, green, "ok") + fmt.Sprintf("  %d days of history learned", s.days))
		s.line("")
		s.line(terminal.Paint(s.color, bold, "Live.") + " Alerts as an analyst gets them:")
		s.line("")
	}
	s.what, s.days, s.from, s.drawn = what, days, s.now, time.Time{}
}

func (s *screen) at(now schemas.Millis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == 0 {
		s.from = now
	}
	s.now = now
}

// progress redraws the status line, not too often.
func (s *screen) progress(sent, lag, alerts int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := 5 * time.Second
	if s.terminal {
		every = 150 * time.Millisecond
	}
	now := time.Now()
	if d := now.Sub(s.rateAt); d >= time.Second || s.rateAt.IsZero() {
		if !s.rateAt.IsZero() {
			s.rate = float64(sent-s.rateNum) / d.Seconds()
		}
		s.rateAt, s.rateNum = now, sent
	}
	if now.Sub(s.drawn) < every {
		return
	}
	s.drawn = now
	part := min(1, float64(s.now-s.from)/float64(int64(s.days)*dayMillis))
	layout := "Mon 02 Jan 15:04"
	if s.width < 100 {
		layout = "Mon 15:04"
	}
	s.draw(fmt.Sprintf("%s %s %s  %s events  %s/s  lag %s  alerts %d",
		terminal.Paint(s.color, cyan, terminal.Pad(s.what, 7)), s.bar(part), s.now.Time().Format(layout), thousands(sent), thousands(int64(s.rate)), thousands(lag), alerts))
}

func (s *screen) bar(part float64) string {
	n := 20
	if s.width < 100 {
		n = 10
	}
	full := int(part * float64(n))
	if !s.terminal {
		return fmt.Sprintf("%3.0f%%", 100*part)
	}
	return strings.Repeat("█", full) + strings.Repeat("░", n-full)
}

// alert shows one alert in plain words. An update has a line where it says something
// new: an analyst who reads on has seen the rest.
func (s *screen) alert(a *schemas.Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Status == schemas.StatusClose {
		return
	}
	says := a.Severity + " " + a.Title
	if s.shown[a.EpisodeID] == says {
		return
	}
	s.shown[a.EpisodeID] = says
	id, title, color := terminal.Escape(a.Agent.ID), terminal.Escape(a.Title), ""
	if a.Status == schemas.StatusUpdate {
		title, color = updateWord(a.Episode.Reason)+": "+title, dim
	}
	const indent = 21
	head := a.Time.Time().Format("Mon 15:04") + "  " + s.severity(a.Severity) + "  " + terminal.Paint(s.color, bold, id)
	if indent+terminal.Cells(id)+2+terminal.Cells(title) <= s.width {
		s.line(head + "  " + terminal.Paint(s.color, color, title))
	} else {
		s.line(cut(head, s.width))
		s.indented(title, indent, color)
	}
	if a.Status != schemas.StatusUpdate {
		s.indented(terminal.Escape(a.Summary), indent, "")
		s.line("")
	}
}

// updateWord says in a word why an update came.
func updateWord(reason string) string {
	switch reason {
	case schemas.ReasonNewKind:
		return "also"
	case schemas.ReasonNewPlace:
		return "another place"
	case schemas.ReasonMoved:
		return "most went elsewhere"
	case schemas.ReasonMoreAgents:
		return "more agents"
	case schemas.ReasonNewCredential:
		return "another credential"
	case schemas.ReasonNewVersion:
		return "another version"
	}
	return "worse"
}

func (s *screen) indented(text string, by int, color string) {
	for _, l := range terminal.Fold(text, s.width-by) {
		s.line(strings.Repeat(" ", by) + terminal.Paint(s.color, color, l))
	}
}

func (s *screen) severity(v string) string {
	return terminal.Paint(s.color, terminal.SeverityStyle(v), terminal.Pad(strings.ToUpper(terminal.Escape(v)), 8))
}

func (s *screen) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.status = false
	}
	if !s.gap {
		s.line("")
	}
}

// cut shortens text to n columns; sequences that colour it take none.
func cut(text string, n int) string {
	var b strings.Builder
	in := false
	for _, r := range text {
		switch {
		case r == '\x1b':
			in = true
		case in:
			in = r != 'm'
		case n == 0:
			continue
		default:
			n--
		}
		b.WriteRune(r)
	}
	return b.String()
}

func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
