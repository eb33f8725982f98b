package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// What is not measured runs in processes of this same program, named by their
// first argument. Each ends when its standard input or output closes.
const (
	childFeed   = "internal-feed"
	childBroker = "internal-broker"
	childSink   = "internal-sink"
)

// sourceTopic is where events come in.
const sourceTopic = "agent-activity"

// runChild runs the child that args name; ok is false where they name none.
func runChild(args []string) (ok bool, err error) {
	if len(args) == 0 {
		return false, nil
	}
	switch args[0] {
	case childFeed:
		return true, serveFeed(args[1], os.Stdout)
	case childBroker:
		return true, serveBroker(args[1])
	case childSink:
		return true, serveSink()
	}
	return false, nil
}

// untilInputEnds waits for whoever started this process to close its input.
func untilInputEnds() { _, _ = io.Copy(io.Discard, os.Stdin) }

// process is a child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.ReadCloser
	name   string
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop closes the child's pipes and waits; one that does not end is killed.
func (p *process) stop() error {
	_, _ = p.stdin.Close(), p.stdout.Close()
	timer := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// start starts a child of this program.
func start(ctx context.Context, exe string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, exe, args...), name: args[0]} //nolint:gosec // it is this program
	p.cmd.Stderr, p.cmd.SysProcAttr = os.Stderr, endsWithParent()
	var err1, err2 error
	p.stdin, err1 = p.cmd.StdinPipe()
	p.stdout, err2 = p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return p, nil
}

// spawn starts a child that prints its address as its first line.
func spawn(ctx context.Context, exe string, args ...string) (*process, string, error) {
	p, err := start(ctx, exe, args...)
	if err != nil {
		return nil, "", err
	}
	addr, err := bufio.NewReader(p.stdout).ReadString('\n')
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s did not say its address: %w", args[0], err), p.stop())
	}
	return p, strings.TrimSpace(addr), nil
}

// feedOptions say what a feed writes.
type feedOptions struct {
	Fleet     simulator.Options
	Canonical bool // as route writes it; else as an agent sends it
}

// feed is a generator in a process of its own.
type feed struct {
	frameReader
	process *process
	read    int64
}

func startFeed(ctx context.Context, exe string, o feedOptions) (*feed, error) {
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	p, err := start(ctx, exe, childFeed, string(arg))
	if err != nil {
		return nil, err
	}
	return &feed{frameReader: frameReader{r: bufio.NewReaderSize(p.stdout, 1<<20)}, process: p}, nil
}

func (f *feed) next() (*frame, error) {
	f.read++
	return f.frameReader.next()
}

// stop ends the generator, which has more to write.
func (f *feed) stop() {
	_ = f.process.cmd.Process.Kill()
	_ = f.process.stop()
}

// serveFeed writes events until the reader is gone.
func serveFeed(arg string, to io.Writer) error {
	var o feedOptions
	if err := json.Unmarshal([]byte(arg), &o); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	fleet, err := simulator.New(o.Fleet)
	if err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	var (
		w     = bufio.NewWriterSize(to, 1<<20)
		dec   = decode.NewActivity()
		ev    schemas.Activity
		rec   frame
		buf   []byte
		canon []byte
		bad   *decode.Refusal
	)
	for fleet.Next(&ev) {
		rec.time = ev.Time
		rec.key = schemas.AppendKey(rec.key[:0], ev.TenantID, ev.AgentID)
		rec.value = simulator.AppendSource(rec.value[:0], &ev)
		if o.Canonical {
			in := decode.Record{Topic: sourceTopic, Time: ev.Time, Value: rec.value}
			dec.Decode(&in, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
				if bad = refusal; bad == nil {
					canon = schemas.AppendActivity(canon[:0], ev)
				}
			})
			if bad != nil {
				return fmt.Errorf("feed: %w", bad)
			}
			rec.value, canon = canon, rec.value
		}
		buf = appendFrame(buf[:0], &rec)
		if _, err := w.Write(buf); err != nil {
			return nil //nolint:nilerr // the reader has enough
		}
	}
	_ = w.Flush()
	return nil
}

// serveBroker runs the embedded Kafka on a data directory.
func serveBroker(dir string) error {
	b, err := broker.Start(broker.Config{DataDir: dir, Listen: "127.0.0.1:0", Logger: zerolog.New(os.Stderr).Level(zerolog.WarnLevel)})
	if err != nil {
		return err
	}
	fmt.Println(b.Addr())
	untilInputEnds()
	return b.Stop()
}
