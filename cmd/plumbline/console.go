package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// console writes progress and messages to standard error. On a terminal progress
// is one line that is rewritten; elsewhere it is a line every few seconds, so that
// a log stays readable.
type console struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	shown bool // a progress line stands on the terminal
	said  map[string]time.Time
}

func newConsole(w io.Writer) *console {
	return &console{w: w, terminal: isTerminal(w), said: make(map[string]time.Time)}
}

// every is how often progress should be shown.
func (c *console) every() time.Duration {
	if c.terminal {
		return 250 * time.Millisecond
	}
	return 5 * time.Second
}

// progress shows how far a command has come.
func (c *console) progress(text string) {
	text = terminal.Escape(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.terminal {
		fmt.Fprintln(c.w, text)
		return
	}
	fmt.Fprint(c.w, "\r"+text+"\x1b[K")
	c.shown = true
}

// during shows progress until the function that it returns is called.
func (c *console) during(progress func() string) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(c.every())
		defer tick.Stop()
		for {
			select {
			case <-done:
				c.clear()
				return
			case <-tick.C:
				c.progress(progress())
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// line writes a line that stays.
func (c *console) line(text string) {
	text = terminal.Escape(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearLocked()
	fmt.Fprintln(c.w, text)
}

// sayEvery is how often the same topic is spoken of.
const sayEvery = 10 * time.Second

// say writes a message, at most one per topic in a while.
func (c *console) say(topic, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.said[topic]; ok && time.Since(last) < sayEvery {
		return
	}
	c.said[topic] = time.Now()
	c.clearLocked()
	fmt.Fprintln(c.w, "plumbline: "+terminal.Escape(text))
}

// clear takes the progress line off the terminal.
func (c *console) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearLocked()
}

func (c *console) clearLocked() {
	if c.shown {
		fmt.Fprint(c.w, "\r\x1b[K")
		c.shown = false
	}
}
