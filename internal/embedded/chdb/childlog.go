package chdb

import (
	"encoding/json"

	"github.com/rs/zerolog"
)

// logLine passes on a line that the child wrote: its own records as what they are, at
// their level, whatever else the library prints as text.
func logLine(log zerolog.Logger, line string) {
	var record map[string]any
	if json.Unmarshal([]byte(line), &record) == nil {
		name, _ := record[zerolog.LevelFieldName].(string)
		message, _ := record[zerolog.MessageFieldName].(string)
		if level, err := zerolog.ParseLevel(name); err == nil && level != zerolog.NoLevel {
			for _, field := range []string{zerolog.LevelFieldName, zerolog.MessageFieldName, zerolog.TimestampFieldName} {
				delete(record, field)
			}
			if level > zerolog.ErrorLevel {
				level = zerolog.ErrorLevel // the child's end is not this process's
			}
			log.WithLevel(level).Fields(record).Msg(message)
			return
		}
	}
	log.Info().Str("line", line).Msg("embedded clickhouse wrote")
}
