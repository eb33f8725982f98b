package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
	"github.com/plumbline-sec/plumbline/internal/telemetry"
)

const (
	// diskLow is said before it is felt: the engine begins nothing new in the last
	// half of it.
	diskLow   = 2 * claim.KeepFree
	diskEvery = 10 * time.Second
)

// disk is the file system that the embedded stack writes to. When it is full
// nothing is lost: what can't be written is repeated until it can.
type disk struct {
	dir    string
	free   func() (bytes uint64, err error)
	logger zerolog.Logger
	low    bool
}

func newDisk(dir string, logger zerolog.Logger) *disk {
	return &disk{dir: dir, logger: logger, free: func() (uint64, error) { return claim.Free(dir) }}
}

// check returns nil while there is room, else what to do.
func (d *disk) check() error {
	n, err := d.free()
	if err != nil {
		return err
	}
	if n < diskLow {
		return fmt.Errorf("%d MiB are free on the disk of %s: free some, or lower clickhouse.retention_days; nothing is lost, what can't be written is repeated", n>>20, d.dir)
	}
	return nil
}

// look says once when the disk runs full, and once when there is room again.
func (d *disk) look() {
	err := d.check()
	switch {
	case err != nil && !d.low:
		d.logger.Error().Err(err).Msg("the disk runs full")
	case err == nil && d.low:
		d.logger.Info().Str("data_dir", d.dir).Msg("the disk has room again")
	}
	d.low = err != nil
}

// watchDisk makes readiness and a metric follow the disk under data_dir, until the
// stop.
func (a *App) watchDisk(ctx context.Context, admin *telemetry.Admin) {
	d := newDisk(a.cfg.DataDir, a.logger.With().Str("component", "disk").Logger())
	admin.AddCheck("disk", func(context.Context) error { return d.check() })
	a.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "plumbline", Name: "data_dir_free_bytes", Help: "Free space on the disk of data_dir.",
	}, func() float64 { n, _ := d.free(); return float64(n) }))
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			d.look()
			sleep(ctx, diskEvery)
		}
	})
	a.onStop("the look at the disk", quick(func() error { cancel(); done.Wait(); return nil }))
}
