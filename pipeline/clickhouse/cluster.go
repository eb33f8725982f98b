package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// On a cluster every host has the tables of one server, replicated, and the views over
// them under names that end with shardSuffix. Distributed tables over all shards have the
// views' names, and those of the tables with distributedSuffix: sql/cluster.sql.

const (
	shardSuffix       = "_shard"
	distributedSuffix = "_distributed"
)

// clusterName is what may stand in a path of Keeper and in quotes.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// The path in Keeper is written out, though servers have a default with the {uuid} of the
// table: a replica that is made again, or on a new host, finds the others by it. Cluster
// names tell those apart that share a Keeper.
//
// Every host has all of schema_migrations: its path has no shard.
const (
	rowsEngine = "ReplicatedReplacingMergeTree('/clickhouse/tables/{{cluster_name}}/{shard}/{database}/{table}', '{replica}', version)"
	logEngine  = "ReplicatedMergeTree('/clickhouse/tables/{{cluster_name}}/all/{database}/{table}', '{shard}-{replica}')"
)

var (
	beginsTable = regexp.MustCompile(`(?m)^(CREATE TABLE IF NOT EXISTS|CREATE OR REPLACE TABLE|ALTER TABLE) (\{\{database\}\}\.\w+)`)
	beginsView  = regexp.MustCompile(`(?m)^CREATE OR REPLACE VIEW (\{\{database\}\}\.\w+) AS$`)
)

// clustered is SQL of sql/ as a cluster runs it. The files stay as they are: they are what
// was applied.
func clustered(text string) string {
	text = beginsTable.ReplaceAllString(text, "$1 $2 ON CLUSTER {{cluster}}")
	text = beginsView.ReplaceAllString(text, "CREATE OR REPLACE VIEW ${1}"+shardSuffix+" ON CLUSTER {{cluster}} AS")
	return strings.NewReplacer("ENGINE = ReplacingMergeTree(version)", "ENGINE = "+rowsEngine, "ENGINE = MergeTree", "ENGINE = "+logEngine).Replace(text)
}

func (c *Config) onCluster() string {
	if c.Cluster == "" {
		return ""
	}
	return " ON CLUSTER " + quoteIdent(c.Cluster)
}

// written is the table that rows of a table are inserted into, and read from without its
// view.
func (c *Config) written(table string) string {
	if c.Cluster == "" {
		return table
	}
	return table + distributedSuffix
}

// everywhere is a table on every host.
func (c *Config) everywhere(table string) string {
	if c.Cluster == "" {
		return table
	}
	return "clusterAllReplicas(" + quoteIdent(c.Cluster) + ", " + table + ")"
}

func (c *Config) system(table string) string { return c.everywhere("system." + table) }

// hostName is an expression that tells the rows of hosts apart.
func (c *Config) hostName() string {
	if c.Cluster == "" {
		return "''"
	}
	return "concat(hostName(), ':', toString(tcpPort()))"
}

// readSettings are those of every connection. A query with a subquery about other agents
// is right on several shards only if the subquery is asked first and its answer sent to
// all; without the setting the server refuses it.
func (c *Config) readSettings() driver.Settings {
	if c.Cluster == "" {
		return nil
	}
	return driver.Settings{"distributed_product_mode": "global"}
}

// lookAround leaves out hosts that do not answer: what the others lack can be seen, and
// a schema that is whole needs none of them.
func (c *Config) lookAround(ctx context.Context) context.Context {
	if c.Cluster == "" {
		return ctx
	}
	return driver.Context(ctx, driver.WithSettings(driver.Settings{"skip_unavailable_shards": 1}))
}

// waitForHosts makes a statement ON CLUSTER end when all hosts have run it, with the error
// of one that could not.
func (c *Config) waitForHosts(ctx context.Context) context.Context {
	if c.Cluster == "" {
		return ctx
	}
	s := driver.Settings{"distributed_ddl_output_mode": "none"}
	if c.Protocol == ProtocolHTTP {
		s["wait_end_of_query"] = 1
	}
	return driver.Context(ctx, driver.WithSettings(s))
}

// distributed is a Distributed table as sql/cluster.sql defines it.
type distributed struct{ name, over, engine string }

var createDistributed = regexp.MustCompile(`(?s)^CREATE OR REPLACE TABLE \{\{database\}\}\.(\w+) AS \{\{database\}\}\.(\w+)\s+ENGINE = (.*)$`)

func (s *schema) distributed(cfg *Config) []distributed {
	if cfg.Cluster == "" {
		return nil
	}
	var out []distributed
	for _, stmt := range statements(s.cluster) {
		if m := createDistributed.FindStringSubmatch(stmt); m != nil {
			out = append(out, distributed{m[1], m[2], cfg.render(m[3])})
		}
	}
	return out
}

// publicNames are what people query: views, or Distributed tables on a cluster.
var publicNames = []string{"activity", "alerts", "windows", "registrations", "agents"}

// otherKind says that tables of one server stand where the config says cluster, or the
// other way round, and what to do. Nothing of that is healed: either needs a decision
// about rows.
func (c *Config) otherKind(there map[string]*tableShape) string {
	if c.Cluster == "" {
		for _, name := range publicNames {
			if t := there[name]; t != nil && t.Engine == "Distributed" {
				return name + " is of engine Distributed: these are the tables of a cluster: set clickhouse.cluster to its name"
			}
		}
		return ""
	}
	for _, t := range []string{activityTable.name, registrationTable.name, alertTable.name, windowTable.name, logTable} {
		if have := there[t]; have != nil && strings.HasSuffix(have.Engine, "MergeTree") && !have.replicated {
			return fmt.Sprintf("table %s is of engine %s, which is not replicated, and clickhouse.cluster is %s: leave clickhouse.cluster empty and go on with one server, or move the rows as docs/clickhouse-cluster.md says: "+
				"rename the database, run `plumbline migrate`, and attach or copy them", t, have.Engine, c.Cluster)
		}
	}
	return ""
}

// compareDistributed finds differences of the Distributed tables, which hold no rows: they
// are replaced.
func (s *schema) compareDistributed(d *drift, cfg *Config, there map[string]*tableShape) {
	literal := func(engine string) string { return strings.ReplaceAll(bare(engine), "'", "") }
	for _, t := range s.distributed(cfg) {
		have, over := there[t.name], there[t.over]
		switch {
		case have == nil:
			d.gone = append(d.gone, "table "+t.name+" is gone")
		case have.Engine != "Distributed":
			d.conflicts = append(d.conflicts, fmt.Sprintf("%s is of engine %s, not Distributed: rename it (RENAME TABLE) and run `plumbline migrate`", t.name, have.Engine))
		case literal(have.full) != literal(t.engine):
			d.other = append(d.other, "table "+t.name+" is about something else")
		case over != nil && !slices.EqualFunc(have.Columns, over.Columns, func(a, b columnShape) bool { return a.Name == b.Name && a.Type == b.Type }):
			d.other = append(d.other, "table "+t.name+" has not the columns of "+t.over)
		}
	}
}

// compareAll finds the differences on all hosts. A step that heals one runs on all, where
// it does nothing.
func (s *schema) compareAll(cfg *Config, hosts []host) *drift {
	all := &drift{}
	steps := func(to *[]Step, more []Step) {
		for _, step := range more {
			if !slices.ContainsFunc(*to, func(have Step) bool { return have.Name == step.Name }) {
				*to = append(*to, step)
			}
		}
	}
	texts := func(to *[]string, more []string) {
		for _, text := range more {
			if !slices.Contains(*to, text) {
				*to = append(*to, text)
			}
		}
	}
	for _, h := range hosts {
		d := s.compare(cfg, h.there)
		for i := range d.tables {
			d.tables[i].asElsewhere(cfg, hosts)
		}
		steps(&all.tables, d.tables)
		steps(&all.parts, d.parts)
		texts(&all.gone, d.gone)
		texts(&all.other, d.other)
		texts(&all.conflicts, d.conflicts)
	}
	return all
}

// logFirst is the step before all others where some hosts have schema_migrations and some
// have not: it is read from all of them, and the plan is made after that.
func (s *schema) logFirst(cfg *Config, hosts []host) *Step {
	lacks := func(h host) bool { return h.there[logTable] == nil }
	if !slices.ContainsFunc(hosts, lacks) || !slices.ContainsFunc(hosts, func(h host) bool { return !lacks(h) }) {
		return nil
	}
	return &Step{Name: "create table " + logTable + ", which is gone", SQL: statements(cfg.render(s.log))}
}

// asElsewhere makes a table as another host has it, where one has: a replica is refused
// unless its columns are those of the others.
func (s *Step) asElsewhere(cfg *Config, hosts []host) {
	for _, h := range hosts {
		if t := h.there[s.table]; t != nil {
			_, definition, _ := strings.Cut(t.create, " (")
			s.SQL = []string{fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s.%s%s (%s", quoteIdent(cfg.Database), quoteIdent(s.table), cfg.onCluster(), definition)}
			s.Note = "table " + s.table + " is there again; a replica gets its rows from the others of its shard"
			return
		}
	}
}
