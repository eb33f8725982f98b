package chdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

// ListenKey is the setting that chooses the address, for messages.
const ListenKey = "embedded.clickhouse_listen"

const (
	// claimPatience is how long a start waits for the child of a dead process to
	// notice and give the data directory back.
	claimPatience = 10 * time.Second
	// startPatience bounds the child's start: loading the library, recovery of
	// the tables.
	startPatience = 2 * time.Minute
	backoffMin    = 100 * time.Millisecond
	backoffMax    = 10 * time.Second
	// backoffReset: a child that lived so long did not die of its start.
	backoffReset = 30 * time.Second
)

// Config says what Start runs.
type Config struct {
	DataDir string
	Listen  string // host:port; port 0 takes a free one
	Lib     string // what Path or Install returned
	// Argv is the command that runs the child, to which the flags of ChildConfig
	// are appended. Default: this binary with Command.
	Argv []string
	// Private is for who runs the engine for a moment: a directory that is held is
	// reported at once, and no address is published, so that nobody else asks an
	// engine that is about to go.
	Private bool
	// KeepTrying returns a server from Start even where the engine does not start on
	// the data of a run before: it is tried again and Health says why. Where there
	// is no such data Start fails: nothing was ever well there.
	KeepTrying bool
	// ReaderPassword makes the user reader, who may SELECT from Database and no more.
	// Without a password there is no such user.
	ReaderPassword string
	Database       string // default: plumbline
	// Env is added to the child's environment.
	Env    []string
	Logger zerolog.Logger
}

// Server is a running engine in a child process.
type Server struct {
	cfg      Config
	addr     string
	dir      *claim.Dir
	ln       *net.TCPListener // held here, so that the address survives the child
	restarts atomic.Int64
	failed   atomic.Int64
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once
	mu       sync.Mutex
	child    *child
	down     *outage // nil while it serves
	said     bool    // of the supervising goroutine: a failure to start is in the log
}

// Start claims the data directory and the port, starts the child and returns when
// it answers. Errors: *claim.HeldError, *claim.PortError, or why the child ended,
// with the last it wrote.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	var err error
	if len(cfg.Argv) == 0 {
		if cfg.Argv, err = ownCommand(); err != nil {
			return nil, fmt.Errorf("embedded clickhouse: find this program: %w", err)
		}
	}
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("embedded clickhouse: %w", err)
	}
	patience := claimPatience
	if cfg.Private {
		patience = 0
	}
	dir, err := claim.Directory(cfg.DataDir, patience)
	if err != nil {
		return nil, fmt.Errorf("embedded clickhouse: %w", err)
	}
	if err := dir.Publish(claim.Note{PID: os.Getpid()}); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded clickhouse: %w", err), dir.Release())
	}
	ln, err := claim.Port("embedded clickhouse", cfg.Listen, ListenKey)
	if err != nil {
		return nil, errors.Join(err, dir.Release())
	}
	s := &Server{
		cfg: cfg, addr: claim.Reachable(ln.Addr()), dir: dir, ln: ln,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if missing := missingWall(); missing != "" {
		cfg.Logger.Warn().Str("missing", missing).Msg("embedded clickhouse runs with one wall less")
	}
	first, err := s.begin(ctx)
	if err == nil && !cfg.Private {
		err = dir.Publish(claim.Note{PID: os.Getpid(), Addr: s.addr})
	}
	if err != nil {
		if first != nil {
			first.kill()
		}
		return nil, errors.Join(fmt.Errorf("embedded clickhouse: %w", err), ln.Close(), dir.Release())
	}
	go s.supervise(first) //nolint:contextcheck // it ends with Stop, not with the start
	return s, nil
}

// Addr is the host:port that clients connect to.
func (s *Server) Addr() string { return s.addr }

// Pid is the child's process id, 0 while there is none.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return 0
	}
	return s.child.cmd.Process.Pid
}

// Stop ends the child: at once where nothing is in progress, by force when ctx
// ends. It may be called twice.
func (s *Server) Stop(ctx context.Context) error {
	s.once.Do(func() { close(s.stop) })
	select {
	case <-s.done:
	case <-ctx.Done():
		s.mu.Lock()
		if s.child != nil {
			s.child.kill()
		}
		s.mu.Unlock()
		<-s.done
	}
	return nil
}

func (s *Server) setChild(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = c
}

// quit asks the child to end and waits until it has; Stop may lose patience.
func (s *Server) quit(c *child) {
	_ = c.stdin.Close()
	<-c.ended
	s.setChild(nil)
}

// launch starts a child.
func (s *Server) launch() (*child, error) {
	lnFile, err := s.ln.File()
	if err != nil {
		return nil, fmt.Errorf("share the listener: %w", err)
	}
	defer func() { _ = lnFile.Close() }()
	args := append(append([]string{}, s.cfg.Argv[1:]...), "--data-dir", s.cfg.DataDir, "--lib", s.cfg.Lib)
	cmd := exec.Command(s.cfg.Argv[0], args...) //nolint:gosec,noctx // the command is this program; its life is supervise's business
	if s.cfg.Argv[0] == ownBinary {
		cmd.Args[0] = os.Args[0] // what a list of processes shows
	}
	cmd.Env = append(childEnv(), s.cfg.Env...)
	cmd.ExtraFiles = []*os.File{lnFile, s.dir.File()} // listenerFile, claimFile
	cmd.SysProcAttr = childAttributes()
	c := &child{cmd: cmd, ended: make(chan struct{}), tail: &tail{log: s.cfg.Logger}}
	c.tail.muted.Store(s.said)
	cmd.Stdout, cmd.Stderr = c.tail, c.tail
	cmd.WaitDelay = time.Second
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	started := make(chan error)
	go func() { // ends with the child
		// Where the kernel is asked to end the child with its parent, the parent
		// is the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	s.setChild(c)
	// A child that ends before it reads this is noticed by whoever waits for it.
	_ = newHandover(s.cfg.Database, s.cfg.ReaderPassword).write(c.stdin)
	return c, nil
}

// ready waits until the child answers.
func (s *Server) ready(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-c.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/ping", http.NoBody)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	// The listener is open already: the request waits in its queue until the
	// child takes it.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	select {
	case <-c.ended:
		return c.why()
	default:
	}
	if err != nil {
		return fmt.Errorf("the engine does not answer on %s: %w", s.addr, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the engine answers %s", resp.Status)
	}
	return nil
}

// child is one run of the child process.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	tail  *tail
	ended chan struct{}
	err   error // set before ended is closed
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.ended
}

// why says how the child ended and what it wrote last.
func (c *child) why() error {
	state := "it ended"
	if c.err != nil {
		state = c.err.Error()
	}
	if text := c.tail.last(); text != "" {
		return fmt.Errorf("the engine's process: %s: %s", state, text)
	}
	return fmt.Errorf("the engine's process: %s", state)
}

// tail logs what the child writes, line by line, and keeps the end of it.
type tail struct {
	log   zerolog.Logger
	muted atomic.Bool // kept, not logged
	mu    sync.Mutex
	line  []byte
	kept  []string
}

const tailLines = 8

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = append(t.line, p...)
	for {
		line, rest, ok := strings.Cut(string(t.line), "\n")
		if !ok && len(line) < 64<<10 {
			return len(p), nil
		}
		t.line = []byte(rest)
		if strings.TrimSpace(line) == "" {
			continue
		}
		t.kept = append(t.kept, line)
		t.kept = t.kept[max(len(t.kept)-tailLines, 0):]
		if t.muted.Load() {
			continue
		}
		logLine(t.log, line)
	}
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.kept
	if rest := strings.TrimSpace(string(t.line)); rest != "" {
		lines = append(slices.Clip(lines), rest)
	}
	return strings.Join(lines, "; ")
}
