package detector

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// A record that is misread is a baseline that is wrong in silence. The records
// testdata/sample-vN-*.bin, of the newest format, have a value of its own in every
// field; beside them stands what DumpAgent and DumpPartition make of them, for people
// to review. Whoever swaps, drops or renames a field changes that.

// sampleRecord is one of the two kinds of records.
type sampleRecord struct {
	name string
	dump func([]byte) (string, error)
	code func(*testing.T, *wire.Coder) any // decodes, and returns the Go value
}

type sampleAgent struct {
	Tenant, Group string
	*agent
}

var sampleRecords = []sampleRecord{
	{"agent", DumpAgent, func(_ *testing.T, c *wire.Coder) any {
		a := &sampleAgent{agent: &agent{}}
		codeAgent(c, a.agent, &a.Tenant, &a.Group)
		return a
	}},
	{"partition", DumpPartition, func(t *testing.T, c *wire.Coder) any {
		t.Helper()
		d, err := New(sampleConfig(), nowhere{})
		require.NoError(t, err)
		d.code(c)
		return d
	}},
}

func sampleConfig() Config {
	cfg := DefaultConfig()
	cfg.Metrics = []Metric{{Name: "size", Field: "bytes_received", Take: "mean"}, {Name: "sum", Field: "bytes_sent", Take: "sum"}}
	return cfg
}

func (s *sampleRecord) file(ext string) string {
	return filepath.Join("testdata", fmt.Sprintf("sample-v%d-%s.%s", wire.Newest, s.name, ext))
}

func (s *sampleRecord) read(t *testing.T) (record []byte, golden string) {
	t.Helper()
	record, err := os.ReadFile(s.file("bin"))
	require.NoError(t, err, "run TestTheDumpOfARecordIsTheGolden with -update to write it")
	text, err := os.ReadFile(s.file("txt"))
	require.NoError(t, err, "run TestTheDumpOfARecordIsTheGolden with -update to write it")
	return record, string(text)
}

// fields lists the fields of a record, and fails where it is none.
func (s *sampleRecord) fields(t *testing.T, record []byte) (fields []wire.Field, err error) {
	t.Helper()
	c := wire.Tracer(record, func(f wire.Field) { fields = append(fields, f) })
	s.code(t, c)
	return fields, finished(c)
}

func TestTheDumpOfARecordIsTheGolden(t *testing.T) {
	update := flag.Lookup("update").Value.String() == "true" // of the package beside
	for _, s := range sampleRecords {
		t.Run(s.name, func(t *testing.T) {
			if _, err := os.Stat(s.file("bin")); update && err != nil {
				// Never written anew: a deployed format stays what it is.
				require.NoError(t, os.WriteFile(s.file("bin"), s.make(t), 0o600))
			}
			if update {
				record, err := os.ReadFile(s.file("bin"))
				require.NoError(t, err)
				text, err := s.dump(record)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(s.file("txt"), []byte(text), 0o600))
			}
			record, golden := s.read(t)
			text, err := s.dump(record)
			require.NoError(t, err)
			if text != golden {
				got, want := strings.Split(text, "\n"), strings.Split(golden, "\n")
				for i := range min(len(got), len(want)) {
					require.Equal(t, want[i], got[i], "line %d", i+1)
				}
				require.Len(t, got, len(want))
			}
		})
	}
}

func TestWhatIsReadFromARecordIsWrittenAgain(t *testing.T) {
	for _, s := range sampleRecords {
		record, _ := s.read(t)
		c := wire.Decoder(record)
		value := s.code(t, c)
		require.NoError(t, finished(c))
		e := wire.Encoder(nil)
		switch v := value.(type) {
		case *Detector:
			v.code(e)
		case *sampleAgent:
			codeAgent(e, v.agent, &v.Tenant, &v.Group)
		}
		require.True(t, bytes.Equal(record, e.Bytes()), s.name)
	}
}

// site names the line that codes a field: a group's peers and the fleet are coded by
// the same.
func site(f wire.Field) string {
	name := indexes.ReplaceAllString(strings.Trim(f.Scope+"."+f.Name, "."), "")
	return shared.Replace(strings.ToLower(name))
}

var (
	indexes = regexp.MustCompile(`\[\d+\]`)
	shared  = strings.NewReplacer("tenants.fleet.", "peers.", "tenants.groups.peers.", "peers.",
		"tenants.groups.calibration.", "calibration.", "tenants.calibration.", "calibration.")
)

// TestNoFieldIsSwappedOrDroppedUnnoticed does to the record what a coder would do that
// takes two neighbours of one type in the other order, that writes one less, or that
// reads one less.
func TestNoFieldIsSwappedOrDroppedUnnoticed(t *testing.T) {
	for _, s := range sampleRecords {
		t.Run(s.name, func(t *testing.T) {
			record, golden := s.read(t)
			fields, err := s.fields(t, record)
			require.NoError(t, err)
			values := valuesOf(s.code(t, wire.Decoder(record)))
			require.Empty(t, misplaced(fields, values))
			at, swaps, seen := 0, 0, map[string]bool{}
			for n, f := range fields {
				end := at + f.Size
				one := record[at:end]
				for what, changed := range map[string][]byte{
					"not written": slices.Concat(record[:at], record[end:]),
					"not read":    slices.Concat(record[:end], one, record[end:]),
				} {
					text, err := s.dump(changed)
					require.True(t, err != nil || text != golden, "field %d, %s, is %s, and nobody notices", n, site(f), what)
				}
				if n+1 < len(fields) {
					next := fields[n+1]
					pair := site(f) + " and " + site(next)
					other := record[end : end+next.Size]
					switch {
					case reflect.TypeOf(f.Value) != reflect.TypeOf(next.Value) || site(f) == site(next):
					case bytes.Equal(one, other):
						seen[pair] = seen[pair] // it has to show elsewhere
					default:
						changed := slices.Concat(record[:at], other, one, record[end+next.Size:])
						text, err := s.dump(changed)
						require.True(t, err != nil || text != golden, "fields %d and %d, %s, are swapped, and nobody notices", n, n+1, pair)
						if err == nil { // names kept, values swapped
							taken, _ := s.fields(t, changed)
							require.NotEmpty(t, misplaced(taken[n:n+2], values), "%s hold each other's value, and nobody notices", pair)
						}
						seen[pair] = true
						swaps++
					}
				}
				at = end
			}
			for pair, ok := range seen {
				require.True(t, ok, "%s have the same value wherever they stand: give each its own", pair)
			}
			t.Logf("%d fields dropped, %d pairs swapped, of %d kinds", len(fields), swaps, len(seen))
		})
	}
}

func TestEveryFieldOfTheSampleHasAValueOfItsOwn(t *testing.T) {
	for _, s := range sampleRecords {
		record, _ := s.read(t)
		fields, err := s.fields(t, record)
		require.NoError(t, err)
		seen := map[string]string{}
		for _, f := range fields {
			switch f.Value.(type) {
			case bool, int: // a truth value, the length of a list
				continue
			}
			if inOrder[site(f)] {
				continue
			}
			name := f.Scope + "." + f.Name
			for _, atom := range atoms(reflect.ValueOf(f.Value)) {
				if other, twice := seen[atom]; twice {
					t.Errorf("%s: %s and %s are both %s", s.name, other, name, atom)
				}
				seen[atom] = name
			}
		}
	}
}

// inOrder are fields that follow from others: where in a table a hash stands, the names
// of signals, and what marks the format.
var inOrder = map[string]bool{
	"none": true, "format": true, "signals": true, "calibration.signals.name": true,
	"peers.known.slots.gap": true, "profile.novelty.known.slots.at": true, "profile.novelty.once.filled": true,
	"episode.severity": true, "episode.worst": true, "metrics": true, "alerted": true,
}

// misplaced lists the fields whose value does not stand in the Go field of their name.
func misplaced(fields []wire.Field, values map[string][]string) []string {
	var out []string
	for _, f := range fields {
		name := goNames.Replace(site(f))
		if _, isLen := f.Value.(int); isLen || inOrder[site(f)] {
			continue
		}
		for _, atom := range atoms(reflect.ValueOf(f.Value)) {
			if !slices.Contains(values[atom], name) {
				out = append(out, fmt.Sprintf("%s %s: that is the value of %q", name, atom, values[atom]))
			}
		}
	}
	return out
}

// goNames makes the path of the Go field from a name, where they differ.
var goNames = strings.NewReplacer(
	"bases.sessions.kind", "bases", "kind.df", "df", "kind.inc", "inc", "runs.place", "runs", "signals.class", "signals",
	"novelty.steps", "novelty.steps.tags", "known.slots.hash", "known.slots", "trail", "trail.buf", "vouches", "profile.novelty.vouches",
)

// valuesOf lists by value the paths of the Go fields that have it.
func valuesOf(v any) map[string][]string {
	out := map[string][]string{}
	visited := map[uintptr]bool{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() && !visited[v.Pointer()] {
				visited[v.Pointer()] = true
				walk(path, v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				f := v.Type().Field(i)
				name := path + "." + strings.ToLower(f.Name)
				switch {
				case f.Anonymous:
					name = path
				case f.Name == "Fleet" || f.Name == "tenantsIn" || f.Name == "bySize":
					continue // other ways to what is walked
				}
				walk(name, v.Field(i))
			}
		case reflect.Slice, reflect.Array:
			if v.Type().Elem().Kind() == reflect.Uint8 && strings.HasSuffix(path, ".buf") {
				break
			}
			for i := range v.Len() {
				walk(path, v.Index(i))
			}
			return
		case reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
			return
		}
		if v.Kind() != reflect.Struct && v.Kind() != reflect.Pointer {
			for _, atom := range atoms(v) {
				at := shared.Replace(strings.TrimPrefix(path, "."))
				out[atom] = append(out[atom], at)
			}
		}
	}
	walk("", reflect.ValueOf(v))
	return out
}

// atoms are the single values of a field, as text.
func atoms(v reflect.Value) []string {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Type().Name() == "" {
			return []string{string(v.Bytes())}
		}
		var out []string
		for i := range v.Len() {
			out = append(out, atoms(v.Index(i))...)
		}
		return out
	case reflect.Float32, reflect.Float64:
		return []string{strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return []string{strconv.FormatUint(v.Uint(), 10)}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return []string{strconv.FormatInt(v.Int(), 10)}
	case reflect.Bool:
		return []string{strconv.FormatBool(v.Bool())}
	case reflect.String:
		return []string{v.String()}
	}
	return nil
}
