package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
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

// freeAddr returns an address that was free a moment ago.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().String(), ln.Close()
}

// startService writes a config and starts the binary with it.
func (b *bench) startService(ctx context.Context, o serviceOptions) (*service, error) {
	binary, err := b.binary(ctx)
	if err != nil {
		return nil, err
	}
	var addrs [3]string
	for i := range addrs {
		if addrs[i], err = freeAddr(); err != nil {
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
			s.spent, _ = cpuOf(s.pid())
		}
		s.mu.Unlock()
	}
}

func (s *service) pid() int { return s.cmd.Process.Pid }

// startup is the CPU time until route joined; false: not yet.
func (s *service) startup() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spent, s.joined
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

// metrics returns the sums of counters and gauges, by "name" and by
// `name{label="value"}` for every single label.
func (s *service) metrics(ctx context.Context) (map[string]float64, error) {
	body, err := get(ctx, "http://"+s.admin+"/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(string(body)), nil
}

// parseMetrics reads Prometheus' text form. Every sample is added to its name, to
// its name with each single label, and to its name with all of them.
func parseMetrics(text string) map[string]float64 {
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			continue
		}
		name, labels, _ := strings.Cut(strings.TrimSuffix(line[:at], "}"), "{")
		out[name] += v
		if labels == "" {
			continue
		}
		parts := strings.Split(labels, ",")
		for _, l := range parts {
			out[name+"{"+l+"}"] += v
		}
		if len(parts) > 1 {
			out[name+"{"+labels+"}"] += v
		}
	}
	return out
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
func (b *bench) binary(ctx context.Context) (string, error) {
	path := filepath.Join(b.tmp, "plumbline")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	b.progress("building cmd/plumbline")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "./cmd/plumbline") //nolint:gosec // a temporary directory
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build cmd/plumbline: %w\n%s", err, out)
	}
	return path, nil
}
