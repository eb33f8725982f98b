package chdb

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress counts the bytes of the download and says how far it is: on a terminal
// on one line, elsewhere on a line for every tenth.
type progress struct {
	out      io.Writer
	terminal bool
	started  time.Time
	next     time.Time
	done     int64
	tenth    int64
	open     bool // a line without its end stands on the terminal
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	p := &progress{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) line(text string) { _, _ = fmt.Fprintln(p.out, text) }

func (p *progress) Write(b []byte) (int, error) {
	now := time.Now()
	if p.started.IsZero() {
		p.started = now
	}
	p.done += int64(len(b))
	tenth := p.done * 10 / packageSize
	if p.terminal && now.After(p.next) || !p.terminal && tenth > p.tenth {
		p.next, p.tenth = now.Add(100*time.Millisecond), tenth
		p.show(now)
	}
	return len(b), nil
}

func (p *progress) show(now time.Time) {
	rate := float64(p.done) / 1e6 / max(now.Sub(p.started).Seconds(), 0.001)
	text := fmt.Sprintf("  %3d %%  %5.1f of %.1f MB  %.1f MB/s", p.done*100/packageSize, float64(p.done)/1e6, float64(packageSize)/1e6, rate)
	if p.terminal {
		_, _ = fmt.Fprint(p.out, "\r", text, "  ")
		p.open = true
		return
	}
	p.line(text)
}

// end finishes the line and starts anew for another attempt.
func (p *progress) end() {
	if p.terminal && p.open {
		p.show(time.Now())
		p.line("")
	}
	p.started, p.done, p.tenth, p.open = time.Time{}, 0, 0, false
}
