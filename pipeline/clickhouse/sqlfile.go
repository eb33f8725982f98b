package clickhouse

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

//go:embed sql/*.sql sql/expected.json
var sqlFiles embed.FS

// logTable records the migrations.
const logTable = "schema_migrations"

// expectedFile is what the migrations come to on a real engine; a test writes it,
// and fails where it is stale.
const expectedFile = "sql/expected.json"

// A migration is one numbered file: sql/0001_name.sql.
type migration struct {
	version  uint32
	name     string
	text     string // as in the file, with its template variables
	checksum string // of text, so that no config changes it
}

// schema is everything in sql/.
type schema struct {
	migrations []migration // in order
	log        string      // the table that records them
	repeatable string      // views and retention
	fsync      string
	cluster    string                 // what a cluster has beside the rest
	expected   map[string]*tableShape // tables by name, as they are after all migrations
}

func (s *schema) latest() uint32 {
	if len(s.migrations) == 0 {
		return 0
	}
	return s.migrations[len(s.migrations)-1].version
}

// loadSchema reads the SQL files; in the program they are embedded.
func loadSchema(files fs.FS) (*schema, error) {
	s := &schema{}
	names, err := fs.Glob(files, "sql/*.sql")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	for _, path := range names {
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		text, name := string(b), strings.TrimSuffix(strings.TrimPrefix(path, "sql/"), ".sql")
		switch name {
		case logTable:
			s.log = text
		case "views_and_retention":
			s.repeatable = text
		case "fsync":
			s.fsync = text
		case "cluster":
			s.cluster = text
		default:
			number, rest, ok := strings.Cut(name, "_")
			v, err := strconv.ParseUint(number, 10, 32)
			if !ok || err != nil || v == 0 || len(number) != 4 {
				return nil, fmt.Errorf("migration %s: its name must be NNNN_what_it_does.sql", path)
			}
			s.migrations = append(s.migrations, migration{uint32(v), rest, text, checksum(text)})
		}
	}
	slices.SortFunc(s.migrations, func(a, b migration) int { return int(a.version) - int(b.version) })
	for i, m := range s.migrations {
		if m.version != uint32(i+1) {
			return nil, fmt.Errorf("migration %04d_%s: number %04d is missing or stands twice", m.version, m.name, i+1)
		}
	}
	b, err := fs.ReadFile(files, expectedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s.expected)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", expectedFile, err)
	}
	return s, nil
}

func checksum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// render fills in the template variables.
func (c *Config) render(text string) string {
	if c.Cluster != "" {
		text = clustered(text)
	}
	return strings.NewReplacer(
		"{{database}}", quoteIdent(c.Database),
		"{{cluster}}", quoteIdent(c.Cluster),
		"{{cluster_name}}", c.Cluster,
		"{{retention_days}}", strconv.Itoa(c.RetentionDays),
	).Replace(text)
}

// statements splits SQL at its semicolons, those in strings, quoted names and
// comments apart, and drops the comments: the server takes one statement at a time.
func statements(text string) []string {
	var (
		out []string
		b   strings.Builder
	)
	flush := func() {
		if s := strings.TrimSpace(b.String()); s != "" {
			out = append(out, s)
		}
		b.Reset()
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ';':
			flush()
			i++
		case c == '\'' || c == '"' || c == '`':
			end := quotedEnd(text, i)
			b.WriteString(text[i:end])
			i = end
		case strings.HasPrefix(text[i:], "--"):
			i = indexOrEnd(text, i, "\n", 0)
		case strings.HasPrefix(text[i:], "/*"):
			i = indexOrEnd(text, i+2, "*/", 2)
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
			i++
		}
	}
	flush()
	return out
}

// quotedEnd returns where what is quoted from i on ends; a quote within is doubled
// or has a backslash before it.
func quotedEnd(text string, i int) int {
	q := text[i]
	for j := i + 1; j < len(text); j++ {
		switch text[j] {
		case '\\':
			j++
		case q:
			if j+1 < len(text) && text[j+1] == q {
				j++
				continue
			}
			return j + 1
		}
	}
	return len(text)
}

func indexOrEnd(text string, from int, what string, skip int) int {
	if n := strings.Index(text[from:], what); n >= 0 {
		return from + n + skip
	}
	return len(text)
}
