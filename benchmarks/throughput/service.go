package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"
)

// service is the built binary at work, over a broker that may be another process.
type service struct {
	cmd   *exec.Cmd
	admin string
	chdb  string
	ended chan struct{}

	mu     sync.Mutex
	log    bytes.Buffer
	joined bool          // route is in its group
	spent  time.Duration // CPU time until then
}

// serviceOptions say what runs.
type serviceOptions struct {
	dir    string
	kafka  string // address of a broker in another process; empty: in the service
	roles  string // empty: all
	pprof  bool
	budget float64 // alerts per agent-day; 0: the default
}

// startService writes a config and starts the binary with it.
func (b *runner) startService(ctx context.Context, o serviceOptions) (*service, error) {
	binary, err := b.binary(ctx)
	if err != nil {
		return nil, err
	}
	var addrs [3]string
	for i := range addrs {
		if addrs[i], err = stack.FreeAddr(); err != nil {
			return nil, err
		}
	}
	s := &service{admin: addrs[0], chdb: addrs[1], ended: make(chan struct{})}
	text := fmt.Sprintf("data_dir: %s\nadmin: {listen: %s, pprof: %t}\nembedded: {kafka_listen: %s, clickhouse_listen: %s}\nlog: {format: json}\n",
		o.dir, s.admin, o.pprof, addrs[2], s.chdb)
	if o.kafka != "" {
		text += fmt.Sprintf("kafka: {brokers: [%s]}\n", strconv.Quote(o.kafka))
	}
	if o.budget > 0 {
		text += fmt.Sprintf("detector: {alerts_per_agent_day: %v}\n", o.budget)
	}
	config := filepath.Join(o.dir, "plumbline.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("service: %w", err)
	}
	args := []string{"run", "--config", config}
	if o.roles != "" {
		args = append(args, "--roles", o.roles)
	}
	s.cmd = exec.CommandContext(ctx, binary, args...) //nolint:gosec // it is the binary that was built a moment ago
	s.cmd.SysProcAttr = endsWithParent()
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("service: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("service: %w", err)
	}
	go s.listen(stderr)
	return s, nil
}

// listen reads the service's log until it ends.
func (s *service) listen(stderr io.Reader) {
	defer close(s.ended)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Component, Message string
		}
		_ = json.Unmarshal(lines.Bytes(), &l)
		s.mu.Lock()
		if s.log.Len() < 1<<20 {
			s.log.Write(append(lines.Bytes(), '\n'))
		}
		if l.Component == "route" && l.Message == "joined generation" && !s.joined {
			s.joined = true
			s.spent, _ = stack.CPUTime(s.pid())
		}
		s.mu.Unlock()
	}
}

func (s *service) pid() int { return s.cmd.Process.Pid }

// startup waits until route has joined and returns the CPU time until then.
func (s *service) startup(ctx context.Context) (spent time.Duration, err error) {
	err = s.eventually(ctx, time.Minute, "for route to join", func() (joined bool, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		spent = s.spent
		return s.joined, nil
	})
	return spent, err
}

// failed returns an error with what the service logged last.
func (s *service) failed(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tail := s.log.Bytes()
	tail = tail[max(0, len(tail)-2000):]
	return fmt.Errorf("%s; the service's log ends with:\n%s", what, tail)
}

// stop asks the service to drain and waits for it.
func (s *service) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(40*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	<-s.ended
	if err := s.cmd.Wait(); err != nil {
		return s.failed("the service ended with " + err.Error())
	}
	return nil
}

// metrics returns what the service counts.
func (s *service) metrics(ctx context.Context) (metrics, error) {
	body, err := get(ctx, "http://"+s.admin+"/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(body)
}

// metrics are Prometheus' families, by name.
type metrics map[string]*dto.MetricFamily

func parseMetrics(text []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	m, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return m, nil
}

// sum adds up the samples of a counter or gauge that have all these labels, each a
// name and a value.
func (m metrics) sum(name string, labels ...[2]string) (sum float64) {
	for _, x := range m[name].GetMetric() {
		has := func(l [2]string) bool {
			return slices.ContainsFunc(x.GetLabel(), func(p *dto.LabelPair) bool { return p.GetName() == l[0] && p.GetValue() == l[1] })
		}
		if !slices.ContainsFunc(labels, func(l [2]string) bool { return !has(l) }) {
			sum += x.GetCounter().GetValue() + x.GetGauge().GetValue()
		}
	}
	return sum
}

// histogram returns a histogram that has no labels; nil where it is not there.
func (m metrics) histogram(name string) *dto.Histogram {
	if x := m[name].GetMetric(); len(x) > 0 {
		return x[0].GetHistogram()
	}
	return nil
}

// count asks the engine.
func (s *service) count(ctx context.Context, sql string) (int, error) {
	u := "http://" + s.chdb + "/?database=plumbline&query=" + strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29").Replace(sql)
	body, err := get(ctx, u)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", sql, err)
	}
	return n, nil
}

// eventually polls until ok, the service ends, or the time is over.
func (s *service) eventually(ctx context.Context, limit time.Duration, what string, ok func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	var last error
	for time.Now().Before(deadline) {
		done, err := ok()
		if done && err == nil {
			return nil
		}
		last = err
		select {
		case <-s.ended:
			return s.failed("the service ended while waiting: " + what)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
	return errors.Join(s.failed("gave up after "+limit.String()+" waiting: "+what), last)
}

// binary builds plumbline, once.
func (b *runner) binary(ctx context.Context) (string, error) {
	path := filepath.Join(b.tmp, "plumbline")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	b.progress("building cmd/plumbline")
	return path, stack.Build(ctx, path, "-trimpath")
}
