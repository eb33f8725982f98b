package detect

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
)

// A config takes effect at a checkpoint: the marker of a partition's state carries the
// config by which records from its offset on are judged (statelog.Marker). Whoever
// restores from it goes on with that one, whatever the process's own config says, to a
// place behind everything that was published already. There the records wait for a
// checkpoint whose marker carries the process's config, and are judged by that one as
// soon as the checkpoint is confirmed, and not before. So each record has one config,
// whoever is killed and whenever.

// verdict is what decides about verdicts, and about what alerts say.
type verdict struct {
	cfg       detector.Config
	canonical []byte
}

func newVerdict(cfg detector.Config) (*verdict, error) {
	if _, err := detector.New(cfg, &state{}); err != nil {
		return nil, fmt.Errorf("detect: %w", err)
	}
	canonical, err := cfg.Canonical()
	if err != nil {
		return nil, fmt.Errorf("detect: %w", err)
	}
	// It stands in a record of the log of state with every checkpoint.
	if len(canonical) > maxVerdict+base64.StdEncoding.EncodedLen(len(cfg.Policies)) {
		return nil, fmt.Errorf("detect: the detector's config takes %d bytes, at most %d: a pattern such as batch-* takes many agents at once", len(canonical)-base64.StdEncoding.EncodedLen(len(cfg.Policies)), maxVerdict)
	}
	if len(cfg.Policies) > MaxPolicies {
		return nil, fmt.Errorf("detect: the policies take %d bytes compressed, at most %d", len(cfg.Policies), MaxPolicies)
	}
	return &verdict{cfg, canonical}, nil
}

const maxVerdict = 256 << 10

// MaxPolicies bounds detector.Config.Policies, bytes: the marker of a checkpoint, in which they
// stand, has to fit into the 1 MiB that Kafka takes at once.
const MaxPolicies = 384 << 10

// CheckConfig says why the role would refuse a config.
func CheckConfig(cfg detector.Config) error {
	_, err := newVerdict(cfg)
	return err
}

// Reload has every partition go on with another config, each at a checkpoint of its
// own that is made at once; until then it is judged as before. An error changes
// nothing.
func (d *Detect) Reload(cfg detector.Config) error {
	v, err := newVerdict(cfg)
	if err != nil {
		return err
	}
	if before := d.verdict.Load(); before == nil || !bytes.Equal(before.canonical, v.canonical) {
		d.verdict.Store(v)
	}
	return nil
}

// inForce returns the config by which records from a marker's offset on are judged, and
// since which offset. start is where the partition goes on.
func (d *Detect) inForce(m *statelog.Marker, start int64, logger zerolog.Logger) (*verdict, int64) {
	own := d.verdict.Load()
	if m == nil || len(m.Config) == 0 {
		return own, start
	}
	cfg, err := detector.ParseConfig(m.Config, own.cfg.Version)
	var stored *verdict
	var set *policy.Set
	if err == nil {
		set, err = policy.Unpack(cfg.Policies)
	}
	if err == nil {
		cfg.NewDecider = set.NewDecider
		stored, err = newVerdict(cfg)
	}
	switch {
	case err != nil:
		logger.Warn().Err(err).Str("config_hash", m.ConfigHash).
			Msg("the config of these baselines is none for this release: that of the process judges what follows their checkpoint, also where alerts were sent already")
		return own, start
	case bytes.Equal(stored.canonical, own.canonical):
		return own, m.ConfigSince
	}
	return stored, m.ConfigSince
}

// behind reports whether the partition is to go on with another config now: nothing
// that an owner before us published is judged by the new one. A checkpoint on its way is
// of the old config; the records need not wait for it.
func (h *handler) behind() bool {
	own, v := h.role.verdict.Load(), h.state.verdict
	return h.run == nil && own != v && !bytes.Equal(own.canonical, v.canonical) && h.state.known.before(h.state.next)
}

// follow goes on with the process's config where that is another one.
func (h *handler) follow(ctx context.Context) error {
	if !h.behind() {
		return nil
	}
	s, v, started := h.state, h.role.verdict.Load(), time.Now()
	if err := h.flush(ctx); err != nil {
		return err
	}
	// Only what changed, for the records wait.
	err := h.begin(ctx, v, s.next, 0)
	if err == nil {
		err = h.complete(ctx)
	}
	if err == nil {
		err = s.detector.Reconfigure(v.cfg)
	}
	if err != nil {
		// The marker may stand in the log all the same: only the log knows which config the
		// partition has now.
		h.lost = true
		return err
	}
	took := time.Since(started)
	h.role.metrics.SwitchSeconds.Observe(took.Seconds())
	old := s.verdict
	s.verdict, s.since = v, s.next
	h.logger.Info().Int64("offset", s.since).Str("config_hash_before", old.cfg.Hash).Str("config_hash", v.cfg.Hash).
		Stringer("took", took.Round(time.Microsecond)).Msg("another config judges from this offset on")
	return nil
}
