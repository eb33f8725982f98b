package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/decide"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
)

// Source is where the config came from, for who wants it to be read again.
type Source struct {
	File   string // empty: nothing to read
	Load   func() (*config.Config, error)
	Watch  bool             // read it when the file changes
	Hangup <-chan os.Signal // read it when this has something; nil: never
}

// The results of a reload.
const (
	ReloadApplied   = "applied"
	ReloadUnchanged = "unchanged"
	ReloadRefused   = "refused" // the config before stays
)

// Reloaded says what a reload did.
type Reloaded struct {
	Result   string           `json:"result"`
	File     string           `json:"file"`
	Before   string           `json:"config_hash_before"`
	Hash     string           `json:"config_hash"`
	Applied  []config.Change  `json:"applied"`
	Restart  []config.Change  `json:"needs_restart"` // what differs from what runs, and stays as it was
	Mistakes []config.Mistake `json:"mistakes,omitempty"`
	Error    string           `json:"error,omitempty"`
}

// reloader has a running service follow its config file.
type reloader struct {
	source  Source
	version string
	judge   func(detector.Config) error // has detect go on with another config; nil: there is no such role
	decide  func(*policy.Set)           // likewise decide with other policies
	logger  zerolog.Logger
	results *prometheus.CounterVec
	failed  prometheus.Gauge

	mu   sync.Mutex
	cfg  *config.Config // in force
	also []string       // files in which the config that was refused has mistakes
	read []fileSeen     // when it was read last
}

func newReloader(cfg *config.Config, source Source, version string, reg prometheus.Registerer, logger zerolog.Logger) *reloader {
	m := pipeline.Registrar{Registerer: reg}
	r := &reloader{
		source: source, version: version, cfg: cfg, logger: logger,
		results: m.Counter("config_reloads_total", "Times that the config file was read again: applied, unchanged, or refused for a mistake.", "result"),
		failed:  m.Gauge("config_reload_failed", "1 while the config file has a mistake and the config before is in force.").WithLabelValues(),
	}
	for _, result := range []string{ReloadApplied, ReloadUnchanged, ReloadRefused} {
		r.results.WithLabelValues(result)
	}
	r.read = r.look(cfg.Policy.Files)
	return r
}

// fileSeen is a file, and which version of it there is; nil: it is not there.
type fileSeen struct {
	name string
	info os.FileInfo
}

// look says which versions there are of the config file, which is the first, and of the
// policy files that patterns name. An error is Load's to tell.
func (r *reloader) look(patterns []string) []fileSeen {
	names := []string{r.source.File}
	add := func(found []string) {
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, p := range patterns {
		found, err := policy.Files([]string{p})
		if err != nil {
			found = []string{p}
		}
		add(found)
	}
	for _, name := range r.also {
		if _, err := os.Stat(name); err == nil { // else it was taken out
			add([]string{name})
		}
	}
	seen := make([]fileSeen, len(names))
	for i, name := range names {
		seen[i].name = name
		seen[i].info, _ = os.Stat(name)
	}
	return seen
}

// reload reads the file, and applies what can be applied while the service runs.
func (r *reloader) reload() Reloaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Reloaded{File: r.source.File, Before: r.cfg.Hash(), Applied: []config.Change{}, Restart: []config.Change{}}
	err := r.apply(&out)
	out.Hash = r.cfg.Hash()
	r.results.WithLabelValues(out.Result).Inc()
	r.failed.Set(0)
	switch {
	case err != nil:
		r.failed.Set(1)
		r.logger.Error().Err(err).Str("file", out.File).Str("config_hash", out.Hash).Msg("the config was not reloaded: the one before stays in force")
	case out.Result == ReloadUnchanged && len(out.Restart) == 0:
		r.logger.Info().Str("file", out.File).Msg("config reloaded: nothing differs from what runs")
	default:
		r.logger.Info().Str("file", out.File).Strs("applied", keys(out.Applied)).Strs("needs_restart", keys(out.Restart)).
			Str("config_hash_before", out.Before).Str("config_hash", out.Hash).Msg("config reloaded")
	}
	return out
}

func (r *reloader) apply(out *Reloaded) error {
	out.Result = ReloadRefused
	refused := func(err error) error {
		if mistakes, ok := errors.AsType[*config.Error](err); ok {
			out.Mistakes = mistakes.Mistakes
			for _, m := range mistakes.Mistakes {
				if m.File != "" && !slices.ContainsFunc(r.read, func(f fileSeen) bool { return f.name == m.File }) {
					info, _ := os.Stat(m.File)
					r.also, r.read = append(r.also, m.File), append(r.read, fileSeen{m.File, info})
				}
			}
		} else {
			out.Error = err.Error()
		}
		return err
	}
	if r.source.File == "" {
		return refused(errors.New("the service was started without --config: there is no file to read"))
	}
	r.also = nil
	r.read = r.look(r.cfg.Policy.Files)
	if c := r.read[0].info; c != nil && c.Size() == 0 {
		return refused(fmt.Errorf("%s is empty: an editor or a full disk may have cut it off; write {} where the defaults are meant", r.source.File))
	}
	next, err := r.source.Load()
	if err == nil && !slices.Equal(next.Policy.Files, r.cfg.Policy.Files) {
		r.read = r.look(next.Policy.Files)
		next, err = r.source.Load() // the files as they are now
	}
	if err != nil {
		return refused(err)
	}
	for _, f := range r.read[1:] {
		if f.info != nil && f.info.Size() == 0 {
			return refused(fmt.Errorf("%s is empty: an editor or a full disk may have cut it off; write a comment where no policies are meant", f.name))
		}
	}
	for _, c := range config.Diff(r.cfg, next) {
		if c.Restart {
			out.Restart = append(out.Restart, c)
		} else {
			out.Applied = append(out.Applied, c)
		}
	}
	if len(out.Applied) == 0 {
		out.Result = ReloadUnchanged
		return nil
	}
	// Everything that a reload applies is of these sections (see the tags in config.Config).
	cfg := *r.cfg
	cfg.Policy = next.Policy
	cfg.Detector = next.Detector
	cfg.Detector.CheckpointEvery, cfg.Detector.OnLostState = r.cfg.Detector.CheckpointEvery, r.cfg.Detector.OnLostState
	set, _ := cfg.Policy.Set.(*policy.Set)
	if r.decide != nil && set == nil {
		out.Applied = []config.Change{}
		return refused(decide.ErrNoPolicies)
	}
	if r.judge != nil {
		if err := r.judge(DetectorConfig(&cfg, r.version)); err != nil {
			out.Applied = []config.Change{}
			return refused(err)
		}
	}
	if r.decide != nil {
		r.decide(set)
	}
	r.cfg, out.Result = &cfg, ReloadApplied
	return nil
}

func keys(changes []config.Change) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.Key
	}
	return out
}

// answer is reload for the admin server.
func (r *reloader) answer() (body []byte, ok bool) {
	out := r.reload()
	body, err := json.Marshal(out)
	return body, err == nil && out.Result != ReloadRefused
}

// fileLookEvery is how often the files are looked at. They are read when two looks in a row find
// the same ones, and another one than before: an editor may be writing it.
const fileLookEvery = 2 * time.Second

// watch reloads at a hangup, and when the config or a policy file changes, until ctx ends.
func (r *reloader) watch(ctx context.Context) {
	ticker := time.NewTicker(fileLookEvery)
	defer ticker.Stop()
	var looks <-chan time.Time
	if r.source.Watch && r.source.File != "" {
		looks = ticker.C
	}
	var last []fileSeen
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.source.Hangup:
			r.reload()
		case <-looks:
			now, read := r.lookAgain()
			if slices.ContainsFunc(now, func(f fileSeen) bool { return f.info == nil }) {
				continue // one is being replaced; who asks for a reload is told
			}
			if slices.EqualFunc(now, last, sameVersion) && !slices.EqualFunc(now, read, sameVersion) {
				r.reload()
			}
			last = now
		}
	}
}

// lookAgain returns which versions of the files there are, and which were read.
func (r *reloader) lookAgain() (now, read []fileSeen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.look(r.cfg.Policy.Files), r.read
}

// sameVersion compares what a name leads to: a mounted ConfigMap is a link that comes
// to lead elsewhere.
func sameVersion(a, b fileSeen) bool {
	x, y := a.info, b.info
	return a.name == b.name && x != nil && y != nil && os.SameFile(x, y) && x.ModTime().Equal(y.ModTime()) && x.Size() == y.Size()
}
