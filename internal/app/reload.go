package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline"
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
	logger  zerolog.Logger
	results *prometheus.CounterVec
	failed  prometheus.Gauge

	mu   sync.Mutex
	cfg  *config.Config // in force
	read os.FileInfo    // of the file when it was read last; nil: it was not there
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
	r.look()
	return r
}

// look remembers which version of the file is about to be read.
func (r *reloader) look() {
	r.read, _ = os.Stat(r.source.File) // an error is Load's to tell
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
		} else {
			out.Error = err.Error()
		}
		return err
	}
	if r.source.File == "" {
		return refused(errors.New("the service was started without --config: there is no file to read"))
	}
	if r.look(); r.read != nil && r.read.Size() == 0 {
		return refused(fmt.Errorf("%s is empty: an editor or a full disk may have cut it off; write {} where the defaults are meant", r.source.File))
	}
	next, err := r.source.Load()
	if err != nil {
		return refused(err)
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
	// Everything that a reload applies is of this section (see the tags in config.Config).
	cfg := *r.cfg
	cfg.Detector = next.Detector
	cfg.Detector.CheckpointEvery, cfg.Detector.OnLostState = r.cfg.Detector.CheckpointEvery, r.cfg.Detector.OnLostState
	if r.judge != nil {
		if err := r.judge(DetectorConfig(&cfg, r.version)); err != nil {
			out.Applied = []config.Change{}
			return refused(err)
		}
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

// fileLookEvery is how often the file is looked at. It is read when two looks in a row find
// the same file, and another one than before: an editor may be writing it.
const fileLookEvery = 2 * time.Second

// watch reloads at a hangup, and when the file changes, until ctx ends.
func (r *reloader) watch(ctx context.Context) {
	ticker := time.NewTicker(fileLookEvery)
	defer ticker.Stop()
	var looks <-chan time.Time
	if r.source.Watch && r.source.File != "" {
		looks = ticker.C
	}
	var last os.FileInfo
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.source.Hangup:
			r.reload()
		case <-looks:
			info, err := os.Stat(r.source.File)
			if err != nil {
				continue // it is being replaced; who asks for a reload is told
			}
			if sameVersion(info, last) && !sameVersion(info, r.lastRead()) {
				r.reload()
			}
			last = info
		}
	}
}

func (r *reloader) lastRead() os.FileInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read
}

// sameVersion compares what a name leads to: a mounted ConfigMap is a link that comes
// to lead elsewhere.
func sameVersion(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
