package telemetry

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/config"
)

// timeFormat has milliseconds, and is read the same by people and machines.
const timeFormat = "2006-01-02T15:04:05.000Z"

// NewLogger returns the logger that the config asks for, writing to w: one JSON
// object a line, or one readable line. Times are UTC. It is safe for concurrent
// use whatever w is.
func NewLogger(cfg config.Log, w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil || cfg.Level == "" {
		return zerolog.Nop(), fmt.Errorf("log.level %q is not known", cfg.Level)
	}
	out := w
	switch cfg.Format {
	case config.LogJSON:
	case config.LogConsole:
		out = zerolog.ConsoleWriter{
			Out:     w,
			NoColor: !IsTerminal(w) || os.Getenv("NO_COLOR") != "",
			// What a person reads first; the rest follows by name.
			FieldsOrder: []string{"error", "severity", "agent_id", "summary", "reason", "events", "do"},
			// The time is text already; the library would parse it as local time.
			FormatTimestamp: func(t any) string { return fmt.Sprint(t) },
		}
	default:
		return zerolog.Nop(), fmt.Errorf("log.format %q is not known", cfg.Format)
	}
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(timeFormat))
	})
	return zerolog.New(zerolog.SyncWriter(out)).Level(level).Hook(stamp), nil
}

// IsTerminal reports whether a person looks at w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
