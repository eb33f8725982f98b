package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/kafka/kafkatest"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// world is one case: a broker, a database, a config, and what runs.
type world struct {
	h      *harness
	dir    string
	config string
	db     string
	other  string // database of a second service, if there is one
	broker broker
	engine *chdb.Server
	proxy  *proxy // in front of the engine
	disk   *disk  // of its own, where the case wants one
	link   *proxy // in front of the broker, where there is one only
	// cluster is the broker of a case that wants three.
	cluster *kafkatest.Cluster
	client  *kafka.Client
	rng     *rand.Rand
	starts  int

	stopped  chan struct{} // closed when everything is sent
	sendErr  error
	lines    [partitions][]int // which of the harness's lines stands at an offset
	stampOff time.Duration     // how far off the sender's clock is
	lost     map[int]bool      // lines that the case took away for good
	alerts   map[string]bool   // ids that must come out, where the case changes them
	values   map[string]string // and the alerts, by id
	running  []*instance
}

// instance is one process of the service.
type instance struct {
	cmd   *exec.Cmd
	ended chan struct{}
	peak  int // MiB
}

// result is a row of the table.
type result struct {
	Name    string   `json:"case"`
	Sent    int      `json:"sent"`
	Stored  int      `json:"stored"`
	Alerts  int      `json:"alerts"`
	Doubled int      `json:"twice_in_topic"`
	State   string   `json:"state"`
	Starts  int      `json:"starts"`
	PeakMiB int      `json:"peak_mib"` // the largest resident set of an instance
	Seconds float64  `json:"seconds"`
	Faults  []string `json:"wrong,omitempty"`
	Skipped string   `json:"skipped,omitempty"`
}

// errSkipped is why a case can't be had on this machine.
type errSkipped string

func (e errSkipped) Error() string { return string(e) }

func (r *result) verdict() string {
	if r.Skipped != "" {
		return "SKIPPED: " + r.Skipped
	}
	if len(r.Faults) == 0 {
		return "holds"
	}
	return "WRONG: " + strings.Join(r.Faults, "; ")
}

func (r *result) wrong(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

// run runs one case and looks at what came out.
func (h *harness) run(ctx context.Context, c faultCase) (r result) {
	r.Name = c.name
	w, err := h.world(ctx, c)
	defer w.close() //nolint:contextcheck // also when ctx has ended
	if skipped := errSkipped(""); errors.As(err, &skipped) {
		r.Skipped = string(skipped)
		return r
	}
	if err != nil {
		r.wrong("%v", err)
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute+time.Duration(h.o.kills)*10*time.Second)
	defer cancel()
	if err := c.do(ctx, w); err != nil {
		r.wrong("%v", err)
	}
	w.check(ctx, c, &r)
	r.Starts = w.starts
	return r
}

// world makes what a case needs; what it returns is to be closed, also with an error.
func (h *harness) world(ctx context.Context, c faultCase) (w *world, err error) {
	h.n++
	w = &world{h: h, engine: h.engine, dir: filepath.Join(h.dir, "case-"+strconv.Itoa(h.n)), db: "case_" + strconv.Itoa(h.n), rng: rand.New(rand.NewPCG(1, uint64(h.n))), stopped: make(chan struct{})} //nolint:gosec // reproducible
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return w, fmt.Errorf("directory: %w", err)
	}
	if c.disk {
		if err := w.ownDisk(ctx); err != nil {
			return w, err
		}
	}
	if w.proxy, err = newProxy("127.0.0.1:0", w.engine.Addr()); err != nil {
		return w, err
	}
	var brokers []string
	if c.cluster {
		brokers, err = w.clustered()
	} else {
		brokers, err = w.alone()
	}
	if err != nil {
		return w, err
	}
	w.config = filepath.Join(w.dir, "plumbline.yaml")
	text := strings.Replace(common, "kafka: {", fmt.Sprintf("kafka: {brokers: [%s], session_timeout: %s, ", strings.Join(brokers, ", "), sessionTimeout(h.o)), 1) +
		fmt.Sprintf("clickhouse: {addr: [%q], database: %s}\narchive: {max_rows: 5000, max_age: 200ms}\noutputs: [{topic: siem.ocsf, format: ocsf}]\n", w.proxy.addr(), w.db) +
		"admin: {listen: \"127.0.0.1:0\"}\nlog: {format: json}\n"
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		return w, fmt.Errorf("config: %w", err)
	}
	w.client, err = kafka.New(kafka.Config{Brokers: brokers}, zerolog.Nop())
	return w, err
}

// alone starts one broker, with a proxy in front.
func (w *world) alone() (addrs []string, err error) {
	if w.broker, err = w.h.newBroker(w.dir); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(w.broker.Addr())
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if w.link, err = newProxy(net.JoinHostPort(advertise, port), w.broker.Addr()); err != nil {
		return nil, err
	}
	return []string{w.link.addr()}, nil
}

// clustered starts three brokers of Apache Kafka.
func (w *world) clustered() ([]string, error) {
	var err error
	if w.cluster, err = kafkatest.NewCluster(w.h.o.kafkaHome, filepath.Join(w.dir, "kafka")); err != nil {
		return nil, err
	}
	w.broker = w.cluster
	return w.cluster.Addrs(), w.cluster.Start()
}

func (w *world) close() {
	for _, i := range w.running {
		i.signal(syscall.SIGKILL)
		<-i.ended
	}
	if w.client != nil {
		_ = w.client.Close()
	}
	for _, p := range []*proxy{w.proxy, w.link} {
		if p != nil {
			p.close()
		}
	}
	if w.broker != nil {
		_ = w.broker.Stop()
	}
	if w.disk != nil {
		_ = stack.StopEngine(w.engine)
		w.disk.close()
	}
}

// launch says how an instance is started.
type launch struct {
	at     string // a place to die at; empty: none
	after  int    // after so many passes
	binary string // default: the harness's
	config string // default: the case's
	env    []string
}

// start starts an instance; it does not wait until it works.
func (w *world) start(l launch) (*instance, error) {
	w.starts++
	log, err := os.Create(filepath.Join(w.dir, fmt.Sprintf("service-%d.log", w.starts)))
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	cmd := exec.Command(cmp.Or(l.binary, w.h.binary), "run", "--config", cmp.Or(l.config, w.config)) //nolint:gosec,noctx // our own; it is killed by the case
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), l.env...)
	if l.at != "" {
		cmd.Env = append(cmd.Env, failpointEnv+"="+l.at+":"+strconv.Itoa(l.after))
	}
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	i := &instance{cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(i.ended)
		_ = cmd.Wait()
	}()
	w.running = append(w.running, i)
	return i, nil
}

const failpointEnv = "PLUMBLINE_FAILPOINT"

func (i *instance) signal(s syscall.Signal) {
	i.note()
	_ = i.cmd.Process.Signal(s)
}

func (i *instance) alive() bool {
	select {
	case <-i.ended:
		return false
	default:
		return true
	}
}

// note keeps the largest resident set of an instance that is about to end.
func (i *instance) note() {
	if peak := stack.PeakMemory(i.cmd.Process.Pid); peak > 0 { // else it has ended
		i.peak = int(peak >> 20)
	}
}

// stop asks an instance to end, and waits.
func (i *instance) stop() error {
	i.signal(syscall.SIGTERM)
	select {
	case <-i.ended:
	case <-time.After(40 * time.Second):
		i.signal(syscall.SIGKILL)
		return errors.New("an instance did not end within 40 s of SIGTERM")
	}
	if code := i.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("an instance that was asked to stop ended with code %d", code)
	}
	return nil
}

// topics waits until the first instance has made the source topic.
func (w *world) topics(ctx context.Context) error {
	for {
		if n, err := w.client.Partitions(ctx, sourceTopic); err == nil && n > 0 {
			return nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("waiting for the topics: %w", ctx.Err())
		}
	}
}

const sourceTopic = "agent-activity"

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// load sends all events, as fast as it takes to do so in about the given time.
// extra, where set, returns a line to send as well before the i-th.
func (w *world) load(ctx context.Context, d time.Duration, extra func(i int) []byte) {
	go func() {
		defer close(w.stopped)
		w.sendErr = w.send(ctx, d, extra)
	}()
}

func (w *world) send(ctx context.Context, d time.Duration, extra func(i int) []byte) error {
	const batch = 500
	dec := decode.NewActivity()
	pending := make([][]pipeline.Record, partitions)
	start := time.Now()
	for i, line := range w.h.lines {
		if extra != nil {
			if more := extra(i); more != nil {
				pending[i%partitions] = append(pending[i%partitions], pipeline.Record{Value: more})
			}
		}
		var key []byte
		dec.Decode(&decode.Record{Value: line}, func(_ int32, ev *schemas.Activity, _ *decode.Refusal) {
			key = schemas.AppendKey(nil, ev.TenantID, ev.AgentID)
		})
		p := schemas.Partition(key, partitions)
		rec := pipeline.Record{Key: key, Value: line}
		if w.stampOff != 0 {
			rec.Time = schemas.Millis(time.Now().Add(w.stampOff * time.Duration(1-2*(i/batch%2))).UnixMilli())
		}
		pending[p] = append(pending[p], rec)
		w.lines[p] = append(w.lines[p], i)
		if i%batch < batch-1 && i < len(w.h.lines)-1 {
			continue
		}
		for p, records := range pending {
			if err := w.produce(ctx, int32(p), records); err != nil {
				return err
			}
			pending[p] = pending[p][:0]
		}
		until := start.Add(time.Duration(float64(d) * float64(i) / float64(len(w.h.lines))))
		if !pause(ctx, max(0, time.Until(until))) {
			return ctx.Err()
		}
	}
	return nil
}

// produce sends once. Where the broker is away it asks whether the records arrived
// before it sends them again: the sender of a test doubles nothing.
func (w *world) produce(ctx context.Context, p int32, records []pipeline.Record) error {
	tp := pipeline.TopicPartition{Topic: sourceTopic, Partition: p}
	if len(records) == 0 {
		return nil
	}
	var before int64 = -1
	for {
		_, end, err := w.client.Bounds(ctx, tp)
		switch {
		case err == nil && before >= 0 && end > before:
			return nil // it had arrived
		case err == nil:
			before = end
			if err = w.client.Produce(ctx, tp, records); err == nil {
				return nil
			}
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("send: %w", err)
		}
	}
}

// during calls step until everything is sent.
func (w *world) during(ctx context.Context, step func() error) error {
	for {
		select {
		case <-w.stopped:
			return w.sendErr
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if err := step(); err != nil {
			return err
		}
	}
}

// command runs the binary and returns what it printed.
func (w *world) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, w.h.binary, args...) //nolint:gosec // our own
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// count asks for the rows under a view, and how many ids they have.
func (w *world) count(ctx context.Context, view, id string) (rows, ids int, err error) {
	from := view
	if w.other != "" {
		from = fmt.Sprintf("(SELECT * FROM %s.%s UNION ALL SELECT * FROM %s.%s)", w.db, view, w.other, view)
	}
	out, err := w.command(ctx, "query", "--config", w.config, "SELECT count(), uniqExact("+id+") FROM "+from+" FORMAT TSV")
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(string(out), &rows, &ids); err != nil {
		return 0, 0, fmt.Errorf("query: %w in %q", err, out)
	}
	return rows, ids, nil
}
