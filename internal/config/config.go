// Package config is the configuration of Plumbline: its types, defaults, YAML
// form, validation and fingerprint.
//
// Invariants:
//  1. Every key has a default: an empty file, and no file, give a config that
//     runs.
//  2. Load reports every mistake of a file at once, each with file, line and
//     column, the line itself, and what to write instead.
//  3. A secret comes from the environment or from a file, never from the text of
//     the config, and no printed form of a config shows it, an error included.
//  4. What is validated is what runs: nothing is corrected silently.
//
// docs/configuration.md is generated from the comments and defaults in this
// file. The package imports schemas and the detector's limits; it never imports an adapter.
package config

import (
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Config is the whole configuration.
type Config struct {
	// Directory of everything that is kept on this machine: the embedded Kafka and
	// ClickHouse. Relative to the working directory.
	DataDir string `yaml:"data_dir" example:"/var/lib/plumbline" change:"restart"`
	// Where events come from and alerts go to.
	Kafka Kafka `yaml:"kafka" change:"restart"`
	// What is read, and in which form.
	Sources []Source `yaml:"sources" change:"restart"`
	// Where events, alerts and windows are kept.
	ClickHouse ClickHouse `yaml:"clickhouse" change:"restart"`
	// What counts as an anomaly.
	Detector Detector `yaml:"detector" change:"verdicts"`
	// What agents may do.
	Policy Policy `yaml:"policy" change:"verdicts"`
	// How the role `decide` answers what an agent may do, before it does it.
	Decide Decide `yaml:"decide" change:"restart"`
	// Topics that a SIEM reads, beside `plumbline.alerts`. `[]` for none.
	Outputs []Output `yaml:"outputs" change:"restart"`
	// How rows are batched on their way into ClickHouse.
	Archive Archive `yaml:"archive" change:"restart"`
	// Addresses of the embedded Kafka and ClickHouse.
	Embedded Embedded `yaml:"embedded" change:"restart"`
	// Metrics and health over HTTP.
	Admin Admin `yaml:"admin" change:"restart"`
	// What the service says about itself, on standard error.
	Log Log `yaml:"log" change:"restart"`
}

// Kafka says how to reach Kafka, and how the topics that Plumbline owns are made.
type Kafka struct {
	// `embedded` for the broker inside this process, or the addresses of a cluster.
	Brokers Endpoints `yaml:"brokers" example:"[kafka-1:9092, kafka-2:9092]"`
	// Partitions of `plumbline.activity`, 1 to 1024. A partition carries well over
	// 100,000 events/s and holds its own peer groups: raise it only where one core
	// no longer keeps up. The service refuses a topic that has another count.
	Partitions int32 `yaml:"partitions" example:"4" change:"verdicts,restart"`
	// Copies that Kafka keeps of each topic that Plumbline creates, 1 to 32767; 0
	// means one per broker, at most three.
	Replication int16 `yaml:"replication" example:"3"`
	// How long a process may be silent before its partitions go to another one, 1 s
	// to 5 min. Brokers bound it too (group.min.session.timeout.ms, 6 s where nobody
	// changed it).
	SessionTimeout Duration `yaml:"session_timeout" example:"10s"`
	// Encryption towards the brokers.
	TLS TLS `yaml:"tls"`
	// Authentication with the brokers.
	SASL SASL `yaml:"sasl"`
}

// TLS says how a connection is encrypted and who is believed. Its files are read
// again for every new connection: a renewed certificate needs no restart.
type TLS struct {
	// Whether to encrypt.
	Enabled bool `yaml:"enabled" example:"true"`
	// PEM file of the authorities that are believed; empty: those of the system.
	CAFile string `yaml:"ca_file" example:"/etc/plumbline/ca.pem"`
	// PEM file of the certificate that this client shows; needs `key_file`.
	CertFile string `yaml:"cert_file" example:"/etc/plumbline/client.pem"`
	// PEM file of the key of that certificate.
	KeyFile string `yaml:"key_file" example:"/etc/plumbline/client.key"`
	// Name that the server's certificate must carry; empty: the host that is
	// connected to.
	ServerName string `yaml:"server_name" example:"kafka.internal"`
}

// SASL says who Plumbline is towards the brokers.
type SASL struct {
	// `none`, `plain`, `scram-sha-256`, `scram-sha-512`, `oauthbearer` or `aws-msk-iam`.
	Mechanism string `yaml:"mechanism" example:"scram-sha-512"`
	// User name, of `plain` and `scram`.
	Username string `yaml:"username" example:"plumbline"`
	// Password: `${NAME}` of an environment variable, or `file:PATH`.
	Password Secret `yaml:"password" example:"${KAFKA_PASSWORD}"`
	// Where the token of `oauthbearer` comes from.
	OAuth OAuth `yaml:"oauth"`
	// Region of the cluster, of `aws-msk-iam`, whose credentials are those that AWS's
	// own tools find. Empty: that of `AWS_REGION` or AWS's config file.
	AWSRegion string `yaml:"aws_region" example:"eu-central-1"`
}

// OAuth says where a bearer token comes from: an issuer, which gives one for id and
// secret of a client (client credentials grant), or a file that somebody else
// renews.
type OAuth struct {
	// The issuer's token endpoint, https; http on this machine only. A token is
	// replaced after four fifths of its life.
	TokenURL string `yaml:"token_url" example:"https://issuer.example.com/oauth2/token"`
	// The client's id.
	ClientID string `yaml:"client_id" example:"plumbline"`
	// Its secret: `${NAME}` of an environment variable, or `file:PATH`.
	ClientSecret Secret `yaml:"client_secret" example:"file:/run/secrets/kafka-client"`
	// What the token is for. Empty: the issuer's default.
	Scope string `yaml:"scope" example:"kafka"`
	// PEM file of the authorities that are believed for `token_url`; empty: those of
	// the system.
	CAFile string `yaml:"ca_file" example:"/etc/plumbline/ca.pem"`
	// In the place of `token_url`: a file with the token, read for every connection.
	TokenFile string `yaml:"token_file" example:"/run/secrets/token"`
	// SASL extensions that the broker wants beside the token.
	Extensions map[string]string `yaml:"extensions" example:"{logicalCluster: lkc-1, identityPoolId: pool-1}"`
}

// Source is one topic that is read.
type Source struct {
	// Name of the source, in metrics, dead letters and the origin of every event:
	// letters, digits, `.`, `_`, `-`. Unique. It never changes once events of the
	// source are stored.
	Name string `yaml:"name" example:"copilots"`
	// The topic. Not one of Plumbline's own (`plumbline.*`), and read by one source
	// only.
	Topic string `yaml:"topic" example:"otel-genai"`
	// The form of its records: `activity` is Plumbline's own. docs/sources.md has the
	// others; an unknown name is answered with those that there are.
	Decoder string `yaml:"decoder" example:"activity"`
	// What the decoder is told: keys of its own, by which docs/sources.md explains
	// each form, and `cloudevents: true` where its records stand in CloudEvents.
	Options Tree `yaml:"options" example:"{cloudevents: true}"`
	// Raise it by one after the topic was deleted and created again: its offsets
	// start over, and this keeps the new events apart from the old ones.
	Incarnation uint32 `yaml:"incarnation" example:"2"`
	// What `plumbline.deadletter` keeps of a record of which something was refused:
	// the `record` as it came, with all that was said in it, or `metadata` alone: its
	// key, where it is, its size, and why.
	DeadLetters string `yaml:"dead_letters" example:"metadata"`
}

// What dead letters keep.
const (
	DeadLettersRecord   = "record"
	DeadLettersMetadata = "metadata"
)

// ClickHouse says how to reach ClickHouse.
type ClickHouse struct {
	// `embedded` for the engine that this program starts itself, or the address of
	// a server, or those of the replicas of one shard, or of hosts of the `cluster`.
	Addr Endpoints `yaml:"addr" example:"[clickhouse-1:9000, clickhouse-2:9000]"`
	// `http` (port 8123, with TLS 8443) or `native` (port 9000, with TLS 9440).
	// The embedded engine speaks `http`.
	Protocol string `yaml:"protocol" example:"native"`
	// Database of the tables and views; it is created where it is missing.
	Database string `yaml:"database" example:"plumbline"`
	// Name of the cluster in the servers' `remote_servers`, on which tables are made,
	// replicated and spread over its shards (docs/clickhouse-cluster.md). Empty: they
	// stand on one server. It is chosen before the tables are made.
	Cluster string `yaml:"cluster" example:"plumbline"`
	// User name.
	Username string `yaml:"username" example:"plumbline"`
	// Password: `${NAME}` of an environment variable, or `file:PATH`.
	Password Secret `yaml:"password" example:"file:/run/secrets/clickhouse"`
	// Encryption towards the server.
	TLS TLS `yaml:"tls"`
	// Days that events, alerts and windows are kept, 1 to 36500, counted from when
	// Kafka recorded them.
	RetentionDays int `yaml:"retention_days" example:"365"`
	// Replicas that must have a row before an insert counts as done: a number, or
	// `auto` for most of them. Empty leaves it to the server. Write it where tables
	// are replicated.
	InsertQuorum string `yaml:"insert_quorum" example:"auto"`
}

// Detector says what counts as an anomaly.
type Detector struct {
	// The alert budget: false alerts that an agent may cost in a day, over 0 and
	// under 10. 0.01 is one per agent in 100 days.
	AlertsPerAgentDay float64 `yaml:"alerts_per_agent_day" example:"0.002"`
	// An episode closes after that long, in event time, without anything odd. One
	// minute to 30 days.
	QuietTime Duration `yaml:"quiet_time" example:"2h"`
	// Most agents that one partition keeps baselines of, 1 to 100,000,000; the least
	// valuable are given up first. An agent costs up to 4 KiB of memory.
	MaxAgents int `yaml:"max_agents" example:"500000"`
	// Most tenants that one partition tells apart, 1 to 100,000. Agents of further ones
	// share one until there is room: a tenant that has said nothing for a day gives way.
	MaxTenants int `yaml:"max_tenants" example:"500"`
	// How often the baselines of a partition are written to Kafka, 1 s to 10 min: so
	// much is read again after a crash. Detection goes on meanwhile.
	CheckpointEvery Duration `yaml:"checkpoint_every" example:"1m" change:"restart"`
	// What to do where events were processed before and the state that belongs to
	// them is gone: `refuse` to start and say so, or start `fresh`, with baselines
	// that know nothing.
	OnLostState string `yaml:"on_lost_state" example:"fresh" change:"restart"`
	// Link or path in front of a signal's name, which together are the `runbook` of
	// an alert. Empty: none.
	Runbook string `yaml:"runbook" example:"https://wiki.example.com/plumbline/" change:"-"`
	// Tags that an alert gets from what the call that completed it did.
	AccessTags AccessTags `yaml:"access_tags" change:"-"`
	// Overrides of single signals, by name: `call_rate`, `call_rate_long`, `drift`,
	// `silence`, `bytes_sent`, `bytes_received`, `new_tool`, `new_resource`,
	// `new_destination`, `resource_breadth`, `tool_sequence`, `failure_ratio`,
	// `malformed`, `late`, `name_flood`, `foreign_address`, `unknown_credential`, and `metric:NAME` of those below.
	Signals map[string]Signal `yaml:"signals" example:"{silence: {off: true}, bytes_sent: {weight: 5}}"`
	// Numbers of events that become signals, `metric:NAME`: tokens, cost, latency. At
	// most 4. One that is new begins without a history.
	Metrics []Metric `yaml:"metrics" example:"[{name: tokens, field: tokens_out, take: sum, unit: tokens}]"`
	// What comes of an identity check that fails, by its name (docs/identity.md): `alert`,
	// `observe` (it is counted in the metrics), or `off`. Off unless named here are
	// `unregistered_agent` and `static_key`; all others alert.
	Identity map[string]string `yaml:"identity" example:"{unregistered_agent: alert, no_owner: observe}"`
	// How some agents are judged. All entries that match an agent apply, in their
	// order: what a later one gives, wins. At most 64.
	Overrides []Override `yaml:"overrides" example:"[{peer_group: batch, quiet_time: 24h}, {agent: backup-*, signals: {bytes_sent: {at_least: 1e9}}}]"`
}

// The values of Detector.OnLostState.
const (
	LostStateRefuse = "refuse"
	LostStateFresh  = "fresh"
)

// Signal overrides one signal.
type Signal struct {
	// Whether the signal is left out of the score.
	Off bool `yaml:"off" example:"true"`
	// The signal's part of the alert budget relative to the others, over 0 and at
	// most 1000; 0 keeps the signal's own.
	Weight float64 `yaml:"weight" example:"5"`
	// The signal is silent where it observed less, in its own unit (calls, bytes,
	// ...). 0: never.
	AtLeast float64 `yaml:"at_least" example:"1000000"`
	// Tags that an alert gets from this signal, in place of its own: ids of OWASP
	// Agentic, MITRE ATLAS and ATT&CK. Empty: its own; `[none]`: none.
	Tags Names `yaml:"tags" example:"[ASI02, AML.T0086, T1567.002]" change:"-"`
}

// Metric is a number of events that is scored like the calls and bytes are.
type Metric struct {
	// Its name; the signal is `metric:` and this. Letters, digits, `.`, `_` and `-`.
	Name string `yaml:"name" example:"cost"`
	// Where the number is: `bytes_sent`, `bytes_received`, `tokens_in`, `tokens_out`,
	// `duration_ms`, or `attributes.KEY`.
	Field string `yaml:"field" example:"attributes.cost_usd"`
	// What is scored: `sum`, a call and the hour's sum, too much of it only; or
	// `mean`, a call and the hour's mean, too high or too low.
	Take string `yaml:"take" example:"mean"`
	// What it counts, for people. Empty: nothing is said.
	Unit string `yaml:"unit" example:"USD" change:"-"`
}

// Override changes how the agents that it matches are judged. They stay calibrated
// with their peer group.
type Override struct {
	// Their tenant: a name, or the beginning of names and `*`. Empty: any.
	Tenant string `yaml:"tenant" example:"acme"`
	// Their peer group, in the same way. Empty: any.
	PeerGroup string `yaml:"peer_group" example:"batch-*"`
	// Their `agent_id`, in the same way. Empty: any.
	Agent string `yaml:"agent" example:"backup-*"`
	// The alert budget of each of them. 0: as it was.
	AlertsPerAgentDay float64 `yaml:"alerts_per_agent_day" example:"0.001"`
	// How long their episodes wait before they close. 0: as it was.
	QuietTime Duration `yaml:"quiet_time" example:"24h"`
	// Overrides of single signals, each in place of all that was said of it before.
	Signals map[string]OverrideSignal `yaml:"signals" example:"{call_rate: {off: true}}"`
	// As `identity` of all, check by check.
	Identity map[string]string `yaml:"identity" example:"{static_key: alert}"`
}

// OverrideSignal is what an override says of one signal.
type OverrideSignal struct {
	// Whether the signal is left out of the score.
	Off bool `yaml:"off" example:"true"`
	// As a signal's own `weight`.
	Weight float64 `yaml:"weight" example:"5"`
	// As a signal's own `at_least`.
	AtLeast float64 `yaml:"at_least" example:"1000000"`
}

// AccessTags override the tags of calls that did something, by what they did: ids
// as in a signal's `tags`. Empty: Plumbline's own; `[none]`: none.
type AccessTags struct {
	// Of a call that reads.
	Read Names `yaml:"read" example:"[T1213]"`
	// Of a call that changes something.
	Write Names `yaml:"write" example:"[none]"`
	// Of a call that deletes.
	Delete Names `yaml:"delete" example:"[AML.T0101, T1485]"`
	// Of a call that runs code or commands.
	Execute Names `yaml:"execute" example:"[ASI05]"`
	// Of a call that sends something away.
	Send Names `yaml:"send" example:"[AML.T0086, T1048]"`
}

// ByAccess returns the lists under the names of schemas.
func (t *AccessTags) ByAccess() map[string]Names {
	return map[string]Names{
		schemas.AccessRead: t.Read, schemas.AccessWrite: t.Write, schemas.AccessDelete: t.Delete,
		schemas.AccessExecute: t.Execute, schemas.AccessSend: t.Send,
	}
}

// Policy names the policies that say what agents may do, in Cedar. Its files are part of
// the config: with a mistake in one of them the config has one. docs/policy.md explains
// them.
type Policy struct {
	// The files: names, or patterns such as `policies/*.cedar`. `[]`: no policies.
	Files Names `yaml:"files" example:"[]"`
	// What holds where no policy says anything: `permit` or `deny`.
	Default string `yaml:"default" example:"deny"`
	// Whether what is denied is told of (`alert`), or only observed (`observe`).
	Mode string `yaml:"mode" example:"observe"`
	// Set is what was read of the files (Forms.ReadPolicies); nil: there is nothing to decide by.
	Set PolicySet `yaml:"-"`
}

// Decide says how callers of the role `decide` are answered, by the policies of `policy`.
// docs/decide.md explains it.
type Decide struct {
	// Address of the Authorization API (OpenID AuthZEN) and of the check for Envoy. Beyond
	// this machine it needs `token`, `tls.client_ca_file` or `allow_anonymous`.
	Listen string `yaml:"listen" example:"0.0.0.0:9700"`
	// Encryption towards callers.
	TLS ServerTLS `yaml:"tls"`
	// What callers show as `Authorization: Bearer`: `${NAME}` of an environment variable, or
	// `file:PATH`, with at least 16 bytes. Empty: nobody is asked.
	Token Secret `yaml:"token" example:"file:/run/secrets/decide"`
	// Whether anybody who reaches the address may ask.
	AllowAnonymous bool `yaml:"allow_anonymous" example:"true"`
	// What is answered where nothing can be decided: `deny` or `permit`. That is while
	// registrations and alerts are not read to their end, or could not be read for
	// `stale_after`, and where a policy can't be evaluated.
	OnError string `yaml:"on_error" example:"permit"`
	// How long Kafka may be away until `on_error` is answered, 5 s to 24 h.
	StaleAfter Duration `yaml:"stale_after" example:"10m"`
	// Topic that gets every decision. Not one of Plumbline's own (`plumbline.*`). Empty: none.
	LogTopic string `yaml:"log_topic" example:"agent-decisions"`
}

// ServerTLS says how callers reach a server, and who of them is believed. Its files are read
// again for every new connection.
type ServerTLS struct {
	// PEM file of the certificate that the server shows. Empty: no TLS.
	CertFile string `yaml:"cert_file" example:"/etc/plumbline/tls.crt"`
	// PEM file of its key.
	KeyFile string `yaml:"key_file" example:"/etc/plumbline/tls.key"`
	// PEM file of the authorities of callers' certificates, without which nobody is answered.
	// Empty: callers need none.
	ClientCAFile string `yaml:"client_ca_file" example:"/etc/plumbline/callers.pem"`
}

// Output is one topic of alerts in a SIEM's own form.
type Output struct {
	// The topic. Not one of Plumbline's own (`plumbline.*`), no source, and no other
	// output's.
	Topic string `yaml:"topic" example:"siem.cef"`
	// The form of the alerts in it: `json` is Plumbline's own, `ocsf` a Detection
	// Finding 1.8.0 (`ocsf-1.7`, `ocsf-1.6`, `ocsf-1.5`: of that version), `ecs` Elastic's, `splunk` an event for the HTTP Event Collector,
	// `asim` Microsoft Sentinel's, `cef` ArcSight's, `leef` QRadar's. docs/siem.md
	// shows each.
	Format string `yaml:"format" example:"cef"`
	// Put the header of RFC 5424 before each alert: for `cef` and `leef`.
	Syslog bool `yaml:"syslog" example:"true"`
	// Least severity: `low`, `medium`, `high` or `critical`. Of an episode
	// that gets worse the records before that are left out, so that its first one may
	// be an update.
	MinSeverity string `yaml:"min_severity" example:"high"`
	// Only these steps of an episode: `open`, `update`, `close`. Empty: all.
	Status Names `yaml:"status" example:"[open, update]"`
	// Only alerts of these kinds: `behavior`, `identity`, `policy`. Empty: all.
	Kinds Names `yaml:"kinds" example:"[behavior, policy]"`
	// Only alerts about agents of these tenants. Empty: all.
	Tenants Names `yaml:"tenants" example:"[acme]"`
	// Only alerts about agents of these peer groups. Empty: all.
	PeerGroups Names `yaml:"peer_groups" example:"[finance, hr]"`
}

// Archive says when a batch of rows is inserted: when the first limit is reached.
type Archive struct {
	// Rows of a batch, 1 to 1,000,000. ClickHouse likes 10,000 and more.
	MaxRows int `yaml:"max_rows" example:"100000"`
	// Bytes of a batch, 64KiB to 1GiB.
	MaxBytes Size `yaml:"max_bytes" example:"128MiB"`
	// Age of the oldest row of a batch, 10ms to 10m: how far queries may lag behind.
	MaxAge Duration `yaml:"max_age" example:"5s"`
}

// Embedded says where the embedded stack listens.
type Embedded struct {
	// Address of the embedded Kafka; used where `kafka.brokers` is `embedded`.
	KafkaListen string `yaml:"kafka_listen" example:"127.0.0.1:19092"`
	// Address of the embedded ClickHouse, HTTP; used where `clickhouse.addr` is
	// `embedded`.
	ClickHouseListen string `yaml:"clickhouse_listen" example:"127.0.0.1:18123"`
	// Password of the user `reader`, who may SELECT from the embedded ClickHouse's
	// tables and views and nothing else; without it there is no such user. Write
	// `${NAME}` of an environment variable, or `file:PATH`.
	ReaderPassword Secret `yaml:"reader_password" example:"file:/run/secrets/reader"`
	// The embedded stack asks nobody else for a password, so it listens on this machine
	// only; `true` permits other addresses above.
	AllowRemote bool `yaml:"allow_remote" example:"true"`
}

// Admin says where metrics and health are served.
type Admin struct {
	// Address of `/metrics`, `/healthz` and `/readyz`; `none` switches them off.
	Listen string `yaml:"listen" example:"0.0.0.0:9600"`
	// Whether profiles of the running process are served too, under
	// `/debug/pprof/`. They show its command line and memory.
	PProf bool `yaml:"pprof" example:"true"`
}

// Log says what is logged, and how.
type Log struct {
	// `trace`, `debug`, `info`, `warn` or `error`.
	Level string `yaml:"level" example:"debug"`
	// `console` for people or `json` for machines.
	Format string `yaml:"format" example:"json"`
}

// Values of config keys that have a meaning beyond their text.
const (
	EmbeddedValue = "embedded" // of kafka.brokers and clickhouse.addr
	NoListen      = "none"     // of admin.listen

	ProtocolHTTP   = "http"
	ProtocolNative = "native"

	SASLNone        = "none"
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
	SASLOAuthBearer = "oauthbearer"
	SASLMSKIAM      = "aws-msk-iam"

	PolicyPermit  = "permit"
	PolicyDeny    = "deny"
	PolicyAlert   = "alert"
	PolicyObserve = "observe"

	LogConsole = "console"
	LogJSON    = "json"
)

// Default is what an empty file means.
func Default() *Config {
	return &Config{
		DataDir: "./plumbline-data",
		Kafka: Kafka{
			Brokers:    Endpoints{EmbeddedValue},
			Partitions: 1,
			SASL:       SASL{Mechanism: SASLNone},

			SessionTimeout: Duration(30 * time.Second),
		},
		Sources: []Source{
			{Name: "default", Topic: "agent-activity", Decoder: "activity", Incarnation: 1, DeadLetters: DeadLettersRecord},
			{Name: "registry", Topic: "agent-registry", Decoder: "registration", Incarnation: 1, DeadLetters: DeadLettersRecord},
		},
		ClickHouse: ClickHouse{
			Addr:          Endpoints{EmbeddedValue},
			Protocol:      ProtocolHTTP,
			Database:      "plumbline",
			Username:      "default",
			RetentionDays: 90,
		},
		Detector: Detector{
			AlertsPerAgentDay: 0.01,
			QuietTime:         Duration(6 * time.Hour),
			CheckpointEvery:   Duration(30 * time.Second),
			OnLostState:       LostStateRefuse,
			MaxAgents:         2_000_000,
			MaxTenants:        4096,
		},
		Policy:  Policy{Default: PolicyPermit, Mode: PolicyAlert},
		Decide:  Decide{Listen: "127.0.0.1:9700", OnError: PolicyDeny, StaleAfter: Duration(time.Minute)},
		Outputs: []Output{{Topic: "siem.ocsf", Format: "ocsf", MinSeverity: schemas.SeverityLow}},
		Archive: Archive{
			MaxRows:  50_000,
			MaxBytes: 64 << 20,
			MaxAge:   Duration(2 * time.Second),
		},
		Embedded: Embedded{KafkaListen: "127.0.0.1:9092", ClickHouseListen: "127.0.0.1:8123"},
		Admin:    Admin{Listen: "127.0.0.1:9600"},
		Log:      Log{Level: "info", Format: LogConsole},
	}
}

// setDefaults fills in what a listed source need not say.
func (s *Source) setDefaults() {
	*s = Source{Decoder: "activity", Incarnation: 1, DeadLetters: DeadLettersRecord}
}

// setDefaults fills in what a listed output need not say.
func (o *Output) setDefaults() { *o = Output{MinSeverity: schemas.SeverityLow} }
