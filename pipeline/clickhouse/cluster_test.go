package clickhouse

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// The engine has clusters whose shards are itself: Distributed tables, clusterAllReplicas
// and subqueries over them are the real ones. It has no queue of statements ON CLUSTER and
// no replicas: clusterProxy takes away what asks for these.
const clusters = `<tcp_port>9000</tcp_port>
<macros><shard>1</shard><replica>a</replica></macros>
<remote_servers>
    <one><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></one>
    <two>
        <shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
        <shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
    </two>
</remote_servers>
`

func withClusters() chdbtest.Option { return chdbtest.WithExtension(clusterExtension()) }

func clusterExtension() chdb.Extension {
	return chdb.Extension{
		XML: clusters, Unlocked: true, Grants: []string{"GRANT ALL ON *.*"},
		Permit: []string{
			"Distributed", "clusterAllReplicas", "hostName", "tcpPort", "shardNum", "distributed_product_mode", "skip_unavailable_shards",
			"distributed_foreground_insert", "insert_deduplicate", "distributed_ddl_output_mode", "formatQuery",
		},
	}
}

var (
	onClusterClause = regexp.MustCompile(" ON CLUSTER `\\w+`")
	replicatedRows  = regexp.MustCompile(`ReplicatedReplacingMergeTree\('[^']*', '[^']*', version\)`)
	replicatedLog   = regexp.MustCompile(`ReplicatedMergeTree\('[^']*', '[^']*'\)`)
	clusterTables   = regexp.MustCompile("clusterAllReplicas\\(`\\w+`, system\\.tables\\)")
)

// withoutKeeper is a statement for a server that has no Keeper.
func withoutKeeper(sql string) string {
	sql = onClusterClause.ReplaceAllString(sql, "")
	sql = replicatedRows.ReplaceAllString(sql, "ReplacingMergeTree(version)")
	sql = replicatedLog.ReplaceAllString(sql, "MergeTree")
	return clusterTables.ReplaceAllStringFunc(sql, func(from string) string {
		return "(SELECT * REPLACE (replaceRegexpOne(engine, '^(\\w*MergeTree)$', 'Replicated\\1') AS engine, replaceRegexpOne(engine_full, '^(\\w*MergeTree)', 'Replicated\\1') AS engine_full) FROM " + from + ")"
	})
}

// clusterProxy is the engine as a host of a cluster.
func clusterProxy(tb testing.TB, engine string) (addr string) {
	tb.Helper()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: engine})
		r.Out.Host = engine
		if r.In.URL.Query().Has("query") { // the body is rows
			return
		}
		body, err := io.ReadAll(r.In.Body)
		if err != nil {
			tb.Errorf("read a statement: %v", err)
		}
		text := withoutKeeper(string(body))
		r.Out.Body, r.Out.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}}
	s := httptest.NewServer(http.HandlerFunc(proxy.ServeHTTP))
	tb.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func onCluster(name string) func(*Config) {
	return func(c *Config) { c.Cluster, c.Compression = name, CompressionNone }
}

func TestTenProgramsMayMigrateAClusterAtOnceAndItWorks(t *testing.T) {
	addr := clusterProxy(t, chdbtest.Start(t, withClusters()))
	var wg sync.WaitGroup
	for range 10 {
		db := open(t, addr, onCluster("one"))
		wg.Go(func() {
			if err := db.Migrate(t.Context(), nil); err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	wg.Wait()
	db := open(t, addr, onCluster("one"))
	require.NoError(t, checkSchema(t.Context(), db))
	require.NoError(t, db.CheckLost(t.Context()))

	rows := typicalRows(300, 20, now())
	for i := range rows {
		rows[i].Log = pipeline.Place{Partition: 3, Offset: int64(i)}
	}
	for range 2 {
		require.NoError(t, db.InsertActivity(t.Context(), rows))
		require.NoError(t, db.InsertAlerts(t.Context(), []pipeline.AlertRow{sampleAlert(1), sampleAlert(2)}))
		require.NoError(t, db.InsertWindows(t.Context(), []pipeline.WindowRow{sampleWindow(1), sampleWindow(2)}))
	}
	require.Equal(t, []int{300, 2, 2}, []int{count(t, db, "activity"), count(t, db, "alerts"), count(t, db, "windows")}, "each once")
	require.Len(t, readActivity(t, db), 300)
	span, err := db.LogSpan(t.Context(), 3)
	require.NoError(t, err)
	require.Equal(t, [2]int64{0, 299}, [2]int64{span.First, span.Last})
	r, err := db.ReadActivity(t.Context(), now()-day, now()+day)
	require.NoError(t, err)
	seen := 0
	require.NoError(t, r.Each(t.Context(), func(*pipeline.ActivityRow, schemas.Millis) error {
		seen++
		return nil
	}))
	require.Equal(t, 300, seen)
	got := explain(t, db, "SELECT count() FROM activity WHERE tenant_id = 'default' AND agent_id = 'agent-00007'")
	require.Contains(t, got, "FINAL: 1", "the shard does it")
	require.Regexp(t, `(?s)PrimaryKey.*tenant_id.*agent_id.*Condition.*agent-00007`, got, "the condition reaches its key")
}

// Two shards of which each has half of the agents: the views of the shards leave out what
// is the other's.
func TestTheQueriesOfTheDocumentationAnswerAlikeOnTwoShards(t *testing.T) {
	addr := clusterProxy(t, chdbtest.Start(t, withClusters()))
	db := open(t, addr, onCluster("two"))
	require.NoError(t, db.Migrate(t.Context(), nil))
	require.NoError(t, checkSchema(t.Context(), db))
	tellStory(t, db)
	s, err := loadSchema(sqlFiles)
	require.NoError(t, err)
	for _, v := range s.views(&db.cfg) {
		if strings.HasPrefix(v.name, "agents") || strings.HasPrefix(v.name, "registrations") {
			continue // nobody is registered
		}
		exec(t, db, "CREATE OR REPLACE VIEW "+v.name+" AS "+strings.Replace(v.selection, "WHERE", "WHERE cityHash64(tenant_id, agent_id) % 2 = shardNum() - 1 AND", 1))
	}
	require.Equal(t, 2, count(t, db, "(SELECT DISTINCT _shard_num FROM activity)"), "both have some")
	queries, _ := readPage(t, queriesPage)
	var answers strings.Builder
	for _, q := range queries {
		answers.WriteString("# " + q.heading + " " + string(rune('0'+q.number)) + "\n")
		var rows strings.Builder
		require.NoError(t, db.Query(t.Context(), q.sql, FormatJSON, &rows, nil), q.heading)
		answers.WriteString(times.ReplaceAllString(rows.String(), "TIME"))
	}
	want, err := os.ReadFile("testdata/queries.golden.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), answers.String())

	require.Contains(t, explain(t, db, "SELECT agent_id, count() FROM activity GROUP BY agent_id"), "MergingAggregated", "the shards aggregate")

	plain := open(t, addr, func(c *Config) { c.Compression = CompressionNone })
	err = plain.Query(t.Context(), "SELECT count() FROM activity WHERE target_agent_id IN (SELECT agent_id FROM activity)", FormatJSON, io.Discard, nil)
	require.ErrorContains(t, err, "distributed_product_mode", "who has not the setting is refused, not told half")
}

func TestTheSchemaOfAClusterIsWhatAServerParses(t *testing.T) {
	db := open(t, chdbtest.Start(t, withClusters()), onCluster("fleet"), func(c *Config) { c.RetentionDays = 30 })
	var out bytes.Buffer
	require.NoError(t, db.PrintSchema(&out))
	require.NotContains(t, out.String(), "{{", "every template variable is filled in")
	golden(t, "schema-cluster.golden.sql", out.Bytes())
	parts := statements(out.String())
	require.Greater(t, len(parts), 20)
	for _, sql := range parts {
		require.Contains(t, sql, " ON CLUSTER `fleet`")
		require.NotContains(t, sql, "ENGINE = ReplacingMergeTree")
		requireParses(t, db, sql)
	}
}

// requireParses lets the engine's parser read a statement and write it again.
func requireParses(t *testing.T, db *DB, sql string) {
	t.Helper()
	var again string
	require.NoError(t, db.root.QueryRow(t.Context(), "SELECT formatQuery({sql:String})", driver.Named("sql", sql)).Scan(&again), sql)
	require.NotEmpty(t, again)
}

func TestTablesOfOneServerAndThoseOfAClusterAreNotTakenForEachOther(t *testing.T) {
	t.Run("a cluster is set where one server was", func(t *testing.T) {
		engine := chdbtest.Start(t, withClusters())
		single := open(t, engine)
		require.NoError(t, single.Migrate(t.Context(), nil))
		require.NoError(t, single.InsertActivity(t.Context(), typicalRows(9, 3, now())))
		before := fingerprint(t, single)
		// Not through the proxy, which shows every table as replicated.
		db := open(t, engine, onCluster("one"))
		err := db.Migrate(t.Context(), nil)
		require.ErrorIs(t, err, ErrSchemaConflict)
		require.False(t, IsRetryable(err))
		require.ErrorContains(t, err, "table activity_rows is of engine ReplacingMergeTree, which is not replicated, and clickhouse.cluster is one: leave clickhouse.cluster empty")
		require.ErrorContains(t, err, "docs/clickhouse-cluster.md")
		require.Equal(t, before, fingerprint(t, single))
		require.Equal(t, 9, count(t, single, "activity"))
	})
	t.Run("no cluster is set where one is", func(t *testing.T) {
		addr := clusterProxy(t, chdbtest.Start(t, withClusters()))
		require.NoError(t, open(t, addr, onCluster("one")).Migrate(t.Context(), nil))
		err := open(t, addr).Migrate(t.Context(), nil)
		require.ErrorIs(t, err, ErrSchemaConflict)
		require.ErrorContains(t, err, "activity is of engine Distributed: these are the tables of a cluster: set clickhouse.cluster")
	})
}

func TestWhatIsGoneFromAClusterIsNamedAndPutBack(t *testing.T) {
	addr := clusterProxy(t, chdbtest.Start(t, withClusters()))
	db := open(t, addr, onCluster("one"), func(c *Config) { c.RetentionDays = 30 })
	require.NoError(t, db.Migrate(t.Context(), nil))
	want := fingerprint(t, db)
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(50, 3, now())))
	for _, c := range []struct{ damage, said string }{
		{"DROP TABLE activity", "views and retention (table activity is gone)"},
		{"DROP TABLE alert_rows_distributed", "views and retention (table alert_rows_distributed is gone)"},
		{"DROP VIEW windows_shard", "views and retention (view windows_shard is gone)"},
		{"CREATE OR REPLACE TABLE activity AS activity_shard ENGINE = Distributed('two', plumbline, activity_shard)", "views and retention (table activity is about something else)"},
		{"ALTER TABLE activity_rows_distributed DROP COLUMN model", "views and retention (table activity_rows_distributed has not the columns of activity_rows)"},
		{"ALTER TABLE activity_rows DROP INDEX resources", "add index resources to activity_rows, which is gone"},
		{"ALTER TABLE activity_rows DROP COLUMN model", "add column model to activity_rows, which is gone"},
		{"ALTER TABLE window_rows RESET SETTING min_age_to_force_merge_seconds", "set min_age_to_force_merge_seconds of window_rows back to 3600"},
		{"DROP TABLE window_rows", "create table window_rows, which is gone"},
	} {
		exec(t, db, c.damage)
		plan, err := db.Plan(t.Context())
		require.NoError(t, err, c.damage)
		require.Contains(t, stepNames(plan.Steps), c.said)
		for _, step := range plan.Steps {
			for _, sql := range step.SQL {
				require.Contains(t, sql, " ON CLUSTER `one`", sql)
			}
		}
		require.NoError(t, db.Migrate(t.Context(), nil), c.damage)
		require.NoError(t, checkSchema(t.Context(), db), c.damage)
		require.ElementsMatch(t, sortedFields(want), sortedFields(fingerprint(t, db)), c.damage)
		require.Equal(t, 50, count(t, db, "activity"), "no row was lost")
	}
}

func TestAHostThatLacksATableGetsItAsTheOthersHaveIt(t *testing.T) {
	addr := clusterProxy(t, chdbtest.Start(t, withClusters()))
	db := open(t, addr, onCluster("one"))
	require.NoError(t, db.Migrate(t.Context(), nil))
	s, err := loadSchema(sqlFiles)
	require.NoError(t, err)
	_, hosts, err := db.existing(t.Context(), s)
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	require.Empty(t, stepNames(s.compareAll(&db.cfg, hosts).tables))
	require.Nil(t, s.logFirst(&db.cfg, hosts))

	hosts = append(hosts, host{name: "new:9000"})
	first := s.logFirst(&db.cfg, hosts)
	require.NotNil(t, first, "a host that has no schema_migrations can't be asked for it")
	require.Len(t, first.SQL, 1)
	require.Contains(t, first.SQL[0], "CREATE TABLE IF NOT EXISTS `plumbline`.schema_migrations ON CLUSTER `one`")
	require.Nil(t, s.logFirst(&db.cfg, []host{{}, {}}), "at first nobody has it")
	d := s.compareAll(&db.cfg, hosts)
	require.Equal(t, []string{"create table activity_rows, which is gone", "create table alert_rows, which is gone", "create table registration_rows, which is gone", "create table window_rows, which is gone"}, stepNames(d.tables))
	require.Empty(t, d.conflicts)
	require.Contains(t, d.gone, "view activity_shard is gone")
	require.Contains(t, d.gone, "table activity is gone")
	for _, step := range d.tables {
		require.Len(t, step.SQL, 1, "in one statement, since a replica must have the columns of the others at once")
		require.Regexp(t, "^CREATE TABLE IF NOT EXISTS `plumbline`.`\\w+_rows` ON CLUSTER `one` \\(`", step.SQL[0])
		exec(t, db, "DROP TABLE "+step.table)
		require.NoError(t, db.run(t.Context(), "create", step.SQL))
	}
	require.NoError(t, checkSchema(t.Context(), db), "columns and indexes of all migrations are there")
}

// The statements of the page that moves rows, on the engine.
func TestRowsMoveFromOneServerToAClusterAsThePageSays(t *testing.T) {
	page, err := os.ReadFile("../../docs/clickhouse-cluster.md")
	require.NoError(t, err)
	for name, cluster := range map[string]string{"one shard": "one", "several shards": "two"} {
		t.Run(name, func(t *testing.T) {
			engine := chdbtest.Start(t, withClusters())
			single := open(t, engine)
			require.NoError(t, single.Migrate(t.Context(), nil))
			rows := typicalRows(90, 7, now())
			for i := range rows {
				rows[i].Event.RecordedAt -= day * schemas.Millis(i%3)
			}
			require.NoError(t, single.InsertActivity(t.Context(), rows))
			require.NoError(t, single.root.Exec(t.Context(), "RENAME DATABASE plumbline TO plumbline_single"))
			db := open(t, clusterProxy(t, engine), onCluster(cluster))
			require.NoError(t, db.Migrate(t.Context(), nil))
			move := "ALTER TABLE plumbline.activity_rows ATTACH PARTITION ID '21130' FROM plumbline_single.activity_rows"
			if cluster == "two" {
				move = "INSERT INTO plumbline.activity_rows_distributed SELECT * FROM plumbline_single.activity_rows WHERE _partition_id = '21130' SETTINGS distributed_foreground_insert = 1, max_partitions_per_insert_block = 0"
			}
			require.Contains(t, string(page), "       "+move+"\n")
			var partitions []string
			scan(t, db, "SELECT groupUniqArray(_partition_id) FROM plumbline_single.activity_rows", &partitions)
			require.Len(t, partitions, 3)
			for range 2 { // either may be repeated
				for _, id := range partitions {
					exec(t, db, strings.Replace(move, "21130", id, 1))
				}
			}
			require.Equal(t, 90, count(t, db, "activity_shard"))
		})
	}
}
