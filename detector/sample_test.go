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
// field; beside them stands what DumpAgent and dumpPartition make of them, for people
// to review. Whoever swaps, drops or renames a field changes that.

// dumpPartition is DumpAgent for a partition record.
func dumpPartition(record []byte) (string, error) {
	return dump(record, func(c *wire.Coder) error {
		d, err := New(DefaultConfig(), nowhere{})
		if err != nil {
			return err
		}
		d.code(c)
		return finished(c)
	})
}

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
	{"partition", dumpPartition, func(t *testing.T, c *wire.Coder) any {
		t.Helper()
		d := Started(t, sampleConfig(), nowhere{})
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
	shared  = strings.NewReplacer("checked.breaches.", "breaches.", "tenants.crowds.", "breaches.", "tenants.fleet.", "peers.", "tenants.groups.peers.", "peers.",
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
			noticed := func(changed ...[]byte) bool {
				text, err := s.dump(slices.Concat(changed...))
				return err != nil || text != golden
			}
			dropped, pairs := map[string]bool{}, map[string]bool{} // pairs: those that differ somewhere
			swaps, at := 0, 0
			for n, f := range fields {
				one, rest := record[at:at+f.Size], record[at+f.Size:]
				if !dropped[site(f)] { // a line of the coder, with all that it codes
					require.True(t, noticed(record[:at], rest), "nobody notices that %s is not written", site(f))
					require.True(t, noticed(record[:at], one, one, rest), "nobody notices that %s is not read", site(f))
					dropped[site(f)] = true
				}
				at += f.Size
				if n+1 == len(fields) || reflect.TypeOf(f.Value) != reflect.TypeOf(fields[n+1].Value) || site(f) == site(fields[n+1]) {
					continue // elements of one list are coded by one line
				}
				pair := site(f) + " and " + site(fields[n+1])
				other, rest := rest[:fields[n+1].Size], rest[fields[n+1].Size:]
				differ := !bytes.Equal(one, other)
				pairs[pair] = pairs[pair] || differ
				if differ {
					require.True(t, noticed(record[:at-f.Size], other, one, rest), "nobody notices that %s are swapped", pair)
					if a, b := f, fields[n+1]; held(a) && held(b) { // where names stay and Go fields are swapped
						a.Value, b.Value = b.Value, a.Value
						require.NotEmpty(t, misplaced([]wire.Field{a, b}, values), "nobody notices that %s hold each other's value", pair)
					}
					swaps++
				}
			}
			for pair, differ := range pairs {
				require.True(t, differ, "%s have the same value wherever they stand: give each its own", pair)
			}
			t.Logf("%d fields dropped, %d swaps of %d pairs", len(dropped), swaps, len(pairs))
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
	"peers.docfreq.slots.gap": true, "profile.novelty.known.slots.at": true, "profile.novelty.once.filled": true,
	"episode.severity": true, "episode.worst": true, "metrics": true, "alerted": true,
	"profile.novelty.from": true,
	"registered":           true, "registered.versions.given": true, "registered.credentials.given": true, "registered.tools.given": true,
	"registered.destinations.given": true, "registered.agents.given": true,
	"breaches.check": true, "breaches.severity": true, "breaches.worst": true,
}

// held reports whether a field's value stands in a Go field of its own: lengths of lists
// and what follows from others do not.
func held(f wire.Field) bool {
	_, length := f.Value.(int)
	return !length && !inOrder[site(f)]
}

// misplaced lists the fields whose value does not stand in the Go field of their name.
func misplaced(fields []wire.Field, values map[string][]string) []string {
	var out []string
	for _, f := range fields {
		name := goNames.Replace(site(f))
		if !held(f) {
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
	"novelty.steps", "novelty.steps.tags", "slots.hash", "slots", "trail", "trail.buf", "vouches", "profile.novelty.vouches",
)

// valuesOf lists by value the paths of the Go fields that have it.
func valuesOf(v any) map[string][]string {
	out := map[string][]string{}
	visited := map[uintptr]bool{}
	note := func(path string, v reflect.Value) {
		for _, atom := range atoms(v) {
			out[atom] = append(out[atom], shared.Replace(strings.TrimPrefix(path, ".")))
		}
	}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() { //nolint:exhaustive // the others hold none
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
			if bytes := v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice; bytes {
				note(path, v)
				break
			}
			for i := range v.Len() {
				walk(path, v.Index(i))
			}
		default:
			note(path, v)
		}
	}
	walk("", reflect.ValueOf(v))
	return out
}

// atoms are the single values of a field, as text.
func atoms(v reflect.Value) []string {
	switch v.Kind() { //nolint:exhaustive // fields have no others
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
	default:
		return nil
	}
}
