package schemas_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestPartitionIsThatOfKafkasOwnPartitioner(t *testing.T) {
	// Hashes from Kafka's own UtilsTest.
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, n := range []int32{1, 2, 3, 7, 64, 1000, 1<<31 - 1} {
			require.Equal(t, (hash&0x7fffffff)%n, schemas.Partition([]byte(key), n), "%q of %d", key, n)
		}
	}
}

func TestPartitionAgreesWithOtherClients(t *testing.T) {
	const n = 17
	partitions := make([]int, n)
	for i := range partitions {
		partitions[i] = i
	}
	kafkaGo := kafka.Murmur2Balancer{}
	franz := kgo.StickyKeyPartitioner(nil).ForTopic("plumbline.activity")
	key := []byte{}
	for i := range 300 {
		key = append(key, byte(i*7))
		got := schemas.Partition(key, n)
		require.Equal(t, kafkaGo.Balance(kafka.Message{Key: key}, partitions...), int(got), "kafka-go, key of %d bytes", len(key))
		require.Equal(t, franz.Partition(&kgo.Record{Key: key}, n), int(got), "franz-go, key of %d bytes", len(key))
	}
}

func TestTheKeyOfAnAgent(t *testing.T) {
	require.Equal(t, "beforeacme/travel/user_task_1", string(schemas.AppendKey([]byte("before"), "acme", "travel/user_task_1")))
}

func TestAnOriginIsReadAsItWasWritten(t *testing.T) {
	for want, o := range map[string]schemas.Origin{
		"default/1/agent-activity/0/0/0": {Source: "default", Incarnation: 1, Topic: "agent-activity"},
		"a.b_c-d/4294967295/T/2147483647/9223372036854775807/2147483647": {
			Source: "a.b_c-d", Incarnation: 1<<32 - 1, Topic: "T", Partition: 1<<31 - 1, Offset: 1<<63 - 1, Index: 1<<31 - 1,
		},
	} {
		require.Equal(t, want, o.String())
		got, err := schemas.ParseOrigin([]byte(want))
		require.NoError(t, err)
		require.Equal(t, o, got)
	}
}

func TestWhatIsNoOriginIsRefused(t *testing.T) {
	for _, s := range []string{
		"", "/", "a/1/t/0/0", "a/1/t/0/0/0/0", "/1/t/0/0/0", "a/1//0/0/0", "a b/1/t/0/0/0", "a/1/t\x00/0/0/0", "é/1/t/0/0/0",
		"a//t/0/0/0", "a/-1/t/0/0/0", "a/+1/t/0/0/0", "a/01/t/0/0/0", "a/ 1/t/0/0/0", "a/0x1/t/0/0/0", "a/1/t/0/0/", "a/1/t/0/0/0 ",
		"a/4294967296/t/0/0/0", "a/1/t/2147483648/0/0", "a/1/t/0/9223372036854775808/0", "a/1/t/0/0/2147483648", "a/1/t/0/99999999999999999999/0",
	} {
		_, err := schemas.ParseOrigin([]byte(s))
		require.ErrorIs(t, err, schemas.ErrOrigin, "%q", s)
	}
}

func FuzzParseOrigin(f *testing.F) {
	f.Add([]byte("default/1/agent-activity/0/0/0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := schemas.ParseOrigin(b); err == nil {
			require.Equal(t, string(b), o.String(), "an origin has one form")
		}
	})
}

var signals = slices.Concat(signal.Names(), []string{schemas.SignalMetric + "x"}, detector.IdentityChecks())

func signalsOf(names ...string) (list []schemas.AlertSignal) {
	for _, n := range names {
		list = append(list, schemas.AlertSignal{Name: n})
	}
	return list
}

var accesses = []string{"", schemas.AccessRead, schemas.AccessWrite, schemas.AccessDelete, schemas.AccessSend, schemas.AccessExecute, "later"}

// everyTags calls f on the tags of each signal, whatever leads it and completes it.
func everyTags(f func(schemas.Tags)) {
	for _, s := range signals {
		for _, led := range []string{
			"", schemas.LedByDestination, schemas.LedByStore, schemas.LedByAgent, schemas.LedByTool, schemas.LedByToolUse, schemas.LedByResource, schemas.LedBySequence,
		} {
			for _, access := range accesses {
				for _, kind := range []string{"", "url", "email", "db", "s3"} {
					f(schemas.Tagging{}.For([]schemas.AlertSignal{{Name: s, LedBy: led}, {Name: s}}, &schemas.Act{Access: access, Kind: kind}))
				}
			}
		}
	}
}

func TestEverySignalHasTags(t *testing.T) {
	everyTags(func(tags schemas.Tags) {
		require.NotEmpty(t, tags.OwaspASI)
		for _, list := range [][]string{tags.OwaspASI, tags.ATLAS, tags.Attack} {
			require.NotNil(t, list)
			require.True(t, slices.IsSorted(list))
			require.Equal(t, list, slices.Compact(slices.Clone(list)), "each once")
		}
	})
}

func TestTagsJoinWhatSignalsAndAccessSay(t *testing.T) {
	led := signalsOf(schemas.SignalToolSequence, schemas.SignalNewDestination)
	led[1].LedBy = schemas.LedByDestination
	require.Equal(t, schemas.Tags{
		OwaspASI: []string{"ASI01", "ASI02", "ASI05"},
		ATLAS:    []string{"AML.T0053", "AML.T0086"},
		Attack:   []string{"T1567"},
	}, schemas.Tagging{}.For(led, &schemas.Act{Access: schemas.AccessExecute, Kind: "url"}))
	require.Equal(t, schemas.Tags{OwaspASI: []string{}, ATLAS: []string{}, Attack: []string{}}, schemas.Tagging{}.For(nil, &schemas.Act{Access: schemas.AccessSend}))

	tags := schemas.Tagging{}.For(signalsOf(schemas.SignalNewDestination), nil)
	tags.OwaspASI[0] = "changed"
	require.Equal(t, "ASI01", schemas.Tagging{}.For(signalsOf(schemas.SignalNewDestination), nil).OwaspASI[0], "what is returned is the caller's")
}

func TestATechniqueOfATTACKIsNamedOnlyWhereItsDefinitionFits(t *testing.T) {
	for _, c := range []struct {
		name, signal, led, access, kind string
		want                            []string
	}{
		{"data sent to a web service", schemas.SignalNewDestination, schemas.LedByDestination, schemas.AccessSend, "url", []string{"T1567"}},
		{"data mailed out", schemas.SignalNewDestination, schemas.LedByDestination, schemas.AccessSend, "email", []string{"T1048"}},
		{"a page read for the first time", schemas.SignalNewDestination, schemas.LedByDestination, schemas.AccessRead, "url", nil},
		{"a new tool on a database inside", schemas.SignalNewDestination, schemas.LedByTool, schemas.AccessWrite, "db", nil},
		{"a first message to another agent", schemas.SignalNewDestination, schemas.LedByAgent, schemas.AccessSend, "", nil},
		{"a first write to a store inside", schemas.SignalNewDestination, schemas.LedByStore, schemas.AccessWrite, "db", []string{"T1565"}},
		{"much sent to a ticket inside", schemas.SignalBytesSent, "", schemas.AccessSend, "ticket", nil},
		{"much mailed to a customer", schemas.SignalBytesSent, "", schemas.AccessSend, "email", []string{"T1048"}},
		{"much read from a bucket", schemas.SignalBytesReceived, "", schemas.AccessRead, "s3", []string{"T1119", "T1530"}},
		{"much read from the web", schemas.SignalBytesReceived, "", schemas.AccessRead, "url", nil},
		{"a sweep across documents", schemas.SignalResourceBreadth, "", schemas.AccessRead, "file", []string{"T1119", "T1213"}},
		{"a tool never used", schemas.SignalNewTool, schemas.LedByTool, schemas.AccessRead, "db", nil},
		{"many calls", schemas.SignalCallRate, "", schemas.AccessExecute, "db", nil},
		{"many calls that delete", schemas.SignalCallRate, "", schemas.AccessDelete, "db", []string{"T1485"}},
		{"many failures", schemas.SignalFailureRatio, "", schemas.AccessRead, "db", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tags := schemas.Tagging{}.For([]schemas.AlertSignal{{Name: c.signal, LedBy: c.led}}, &schemas.Act{Access: c.access, Kind: c.kind})
			require.ElementsMatch(t, c.want, tags.Attack)
		})
	}
}

func TestTagsAreNamedAsTheirPublishersNameThem(t *testing.T) {
	var (
		taxonomy struct {
			ASI map[string]string `json:"owasp_asi_2026"`
		}
		attack struct {
			Techniques map[string]string `json:"techniques"`
		}
		atlas struct {
			Version    string `json:"version"`
			Tactics    []struct{ ID, Name string }
			Techniques []struct {
				ID, Name string
				Tactics  []string
				SubOf    string `json:"sub_of"`
			}
		}
	)
	dir := filepath.Join("..", "..", "shared", "siem", "taxonomy")
	for name, into := range map[string]any{"taxonomy.json": &taxonomy, "attack-names.json": &attack, "atlas-techniques-5.6.1.json": &atlas} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Skipf("SKIPPED, the names of techniques are not checked: %v", err)
		}
		require.NoError(t, json.Unmarshal(b, into))
	}
	require.Equal(t, schemas.ATLASVersion, atlas.Version)
	names, tactics, parents, tacticNames := map[string]string{}, map[string][]string{}, map[string]string{}, map[string]string{}
	for _, t := range atlas.Techniques {
		names[t.ID], tactics[t.ID], parents[t.ID] = t.Name, t.Tactics, t.SubOf
	}
	for _, t := range atlas.Tactics {
		tacticNames[t.ID] = t.Name
	}
	everyTags(func(tags schemas.Tags) {
		for _, id := range tags.OwaspASI {
			require.NotEmpty(t, taxonomy.ASI[id], id)
		}
		for _, id := range tags.Attack {
			got, ok := schemas.LookupTechnique(id)
			require.True(t, ok, id)
			require.Equal(t, attack.Techniques[id], got.Name, id)
		}
		for _, id := range tags.ATLAS {
			for id != "" {
				got, ok := schemas.LookupTechnique(id)
				require.True(t, ok, id)
				require.Equal(t, names[id], got.Name, id)
				require.Equal(t, parents[id], got.Parent, id)
				of := tactics[id]
				if got.Parent != "" {
					of = tactics[got.Parent]
				}
				if len(of) == 1 {
					require.Equal(t, of[0], got.Tactic, id)
					require.Equal(t, tacticNames[of[0]], got.TacticName, id)
				} else {
					require.Empty(t, got.Tactic, id)
				}
				id = got.Parent
			}
		}
	})
	_, ok := schemas.LookupTechnique("T0000")
	require.False(t, ok)
}

func BenchmarkOrigin(b *testing.B) {
	o := schemas.Origin{Source: "default", Incarnation: 1, Topic: "agent-activity", Partition: 3, Offset: 123456789}
	text := []byte(o.String())
	b.Run("append", func(b *testing.B) {
		buf := make([]byte, 0, 128)
		b.ReportAllocs()
		for b.Loop() {
			buf = o.AppendTo(buf[:0])
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := schemas.ParseOrigin(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPartition(b *testing.B) {
	key := []byte("acme/" + strings.Repeat("a", 30))
	b.ReportAllocs()
	for b.Loop() {
		schemas.Partition(key, 64)
	}
}

func TestTagsOfAnOverrideTakeThePlaceOfOurOwn(t *testing.T) {
	of := func(ids ...string) schemas.Tags {
		tags, err := schemas.ParseTags(ids)
		require.NoError(t, err)
		return tags
	}
	g := schemas.Tagging{
		Signals: map[string]schemas.Tags{schemas.SignalBytesSent: of("T1567.002", "ASI02", "AML.T0086"), "metric:cost": of("AML.T0034")},
		Access:  map[string]schemas.Tags{schemas.AccessSend: of("none")},
	}
	require.Equal(t, schemas.Tags{OwaspASI: []string{"ASI02"}, ATLAS: []string{"AML.T0034", "AML.T0086"}, Attack: []string{"T1567.002"}},
		g.For(signalsOf(schemas.SignalBytesSent, "metric:cost"), &schemas.Act{Access: schemas.AccessSend, Kind: "url"}))
	own := schemas.Tagging{}
	deletes := &schemas.Act{Access: schemas.AccessDelete, Kind: "db"}
	require.Equal(t, own.For(signalsOf(schemas.SignalNewTool, "metric:other"), deletes),
		g.For(signalsOf(schemas.SignalNewTool, "metric:other"), deletes), "what is not overridden stays")

	for _, bad := range []string{"T15", "ASI11", "AML.0086", "t1567", "T1567.2", "none"} {
		_, err := schemas.ParseTags([]string{"T1567", bad})
		require.ErrorContains(t, err, bad)
	}
	sub, known := schemas.LookupTechnique("T1567.002")
	require.False(t, known)
	require.Equal(t, schemas.Technique{ID: "T1567.002", Parent: "T1567"}, sub)
}
