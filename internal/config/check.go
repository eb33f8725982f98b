package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// PolicySet is policies that were read.
type PolicySet interface {
	Hash() string // the fingerprint of what decides
}

// Forms are the names that sources and outputs may use.
type Forms struct {
	Decoders []string // of sources[].decoder
	Formats  []string // of outputs[].format
	Syslog   []string // those of them that may stand behind a syslog header
	// CheckDecoder says what is wrong with the options of a decoder, a
	// decode.OptionErrors. nil: they are not checked.
	CheckDecoder func(name string, options map[string]any) error
	// CheckDetector says why a detector can't be made of a config that has no mistake
	// otherwise. nil: nobody asks.
	CheckDetector func(*Config) error
	// ReadPolicies reads the policy files, and says what is wrong in them. nil: nobody does.
	ReadPolicies func(*Config) (PolicySet, []Mistake)
	// NotEmbedded says why there is no embedded stack to configure; nil: there is one.
	NotEmbedded error
}

// Validate reports what is wrong in a config that was not read from a file; Load
// has done it already.
func (c *Config) Validate(forms Forms) error {
	if ms := c.check(forms); len(ms) > 0 {
		return &Error{Mistakes: ms}
	}
	return nil
}

var (
	sourceName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	topicName  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// clusterName is one that may stand in a path of Keeper.
	clusterName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// ownTopics is the prefix of the topics that Plumbline writes itself.
const ownTopics = "plumbline."

// checker collects mistakes of values that are well formed one by one.
type checker struct{ mistakes []Mistake }

func (k *checker) wrong(key, problem, fix string) {
	k.mistakes = append(k.mistakes, Mistake{Key: key, Problem: problem, Fix: fix})
}

func (c *Config) check(forms Forms) []Mistake {
	k := &checker{}
	if c.DataDir == "" {
		k.wrong("data_dir", "is empty", "write a directory such as ./plumbline-data")
	} else if info, err := os.Stat(c.DataDir); err == nil && !info.IsDir() {
		k.wrong("data_dir", strconv.Quote(c.DataDir)+" is a file", "name a directory")
	}
	k.kafka(&c.Kafka)
	k.topics(c, forms)
	k.clickhouse(&c.ClickHouse)
	k.detector(&c.Detector)
	k.policy(c, forms)
	k.decide(&c.Decide)
	between(k, "archive.max_rows", c.Archive.MaxRows, 1, 1_000_000)
	between(k, "archive.max_bytes", c.Archive.MaxBytes, 64<<10, 1<<30)
	between(k, "archive.max_age", c.Archive.MaxAge, Duration(10*time.Millisecond), Duration(10*time.Minute))
	k.embedded(&c.Embedded)
	if forms.NotEmbedded != nil && c.Embedded != Default().Embedded {
		k.wrong("embedded", "is set, but "+forms.NotEmbedded.Error(), "take it out")
	}
	if c.Admin.Listen != NoListen {
		k.listen("admin.listen", c.Admin.Listen)
	}
	k.distinctListens(c)
	k.oneOf("log.level", c.Log.Level, "trace", "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, LogConsole, LogJSON)
	if len(k.mistakes) == 0 && forms.CheckDetector != nil {
		if err := forms.CheckDetector(c); err != nil {
			k.wrong("detector", "no detector can be made of it: "+err.Error(), "")
		}
	}
	return k.mistakes
}

// policy checks the files too: what stands in them is part of the config.
func (k *checker) policy(c *Config, forms Forms) {
	k.oneOf("policy.default", c.Policy.Default, PolicyPermit, PolicyDeny)
	k.oneOf("policy.mode", c.Policy.Mode, PolicyAlert, PolicyObserve)
	if forms.ReadPolicies == nil {
		return
	}
	var mistakes []Mistake
	c.Policy.Set, mistakes = forms.ReadPolicies(c)
	for _, m := range mistakes {
		m.Key = "policy.files"
		k.mistakes = append(k.mistakes, m)
	}
}

// minToken is how long a token is that nobody guesses.
const minToken = 16

func (k *checker) decide(c *Decide) {
	known := c.Token.IsSet() || c.TLS.ClientCAFile != ""
	if k.listen("decide.listen", c.Listen) && !known && !c.AllowAnonymous && !loopback(c.Listen) {
		k.wrong("decide.listen", strconv.Quote(c.Listen)+" can be reached from other machines, and nobody is asked who they are",
			"write 127.0.0.1:PORT, or give decide.token or decide.tls.client_ca_file")
	}
	if c.Token.IsSet() && len(c.Token.Reveal()) < minToken {
		k.wrong("decide.token", "is too short to be one", fmt.Sprintf("use one of at least %d bytes, such as openssl rand -hex 32 makes", minToken))
	}
	if t := &c.TLS; (t.CertFile == "") != (t.KeyFile == "") {
		k.wrong("decide.tls", "has only one of cert_file and key_file", "give both, or neither")
	} else if t.ClientCAFile != "" && t.CertFile == "" {
		k.wrong("decide.tls.client_ca_file", "is given, yet the server has no certificate", "give cert_file and key_file")
	}
	for _, f := range []struct{ key, path string }{{"cert_file", c.TLS.CertFile}, {"key_file", c.TLS.KeyFile}, {"client_ca_file", c.TLS.ClientCAFile}} {
		if f.path != "" {
			k.file("decide.tls."+f.key, f.path, "name a PEM file that this user may read")
		}
	}
	k.oneOf("decide.on_error", c.OnError, PolicyDeny, PolicyPermit)
	between(k, "decide.stale_after", c.StaleAfter, Duration(5*time.Second), Duration(24*time.Hour))
}

func (k *checker) kafka(c *Kafka) {
	k.endpoints("kafka.brokers", c.Brokers)
	between(k, "kafka.partitions", c.Partitions, 1, 1024)
	between(k, "kafka.replication", c.Replication, 0, 32767)
	between(k, "kafka.session_timeout", c.SessionTimeout, Duration(time.Second), Duration(5*time.Minute))
	k.tls("kafka.tls", &c.TLS)
	k.sasl(&c.SASL)
	if c.Brokers.Embedded() && (c.TLS.Enabled || c.SASL.Mechanism != SASLNone) {
		k.wrong("kafka.brokers", "is embedded, which has neither tls nor sasl", "name brokers, or take tls and sasl out")
	}
}

func (k *checker) sasl(c *SASL) {
	k.oneOf("kafka.sasl.mechanism", c.Mechanism, SASLNone, SASLPlain, SASLScramSHA256, SASLScramSHA512, SASLOAuthBearer, SASLMSKIAM)
	named := c.Username != "" || c.Password.IsSet()
	switch c.Mechanism {
	case SASLNone:
		if named {
			k.wrong("kafka.sasl.mechanism", "is none, yet a user name or password is given", "write plain, scram-sha-256 or scram-sha-512")
		}
	case SASLOAuthBearer:
		if named {
			k.wrong("kafka.sasl.mechanism", "is oauthbearer, which has neither user name nor password", "write client_id and client_secret below oauth")
		}
		k.oauth(&c.OAuth)
	case SASLMSKIAM:
		if named {
			k.wrong("kafka.sasl.mechanism", "is aws-msk-iam, which has neither user name nor password", "take them out: the credentials are those that AWS's own tools find")
		}
	default:
		if c.Username == "" {
			k.wrong("kafka.sasl.username", "is missing", "write the user name, or mechanism: none")
		}
		if !c.Password.IsSet() {
			k.wrong("kafka.sasl.password", "is missing or empty", "write ${NAME} for an environment variable, or file:PATH")
		}
	}
	o := &c.OAuth
	if c.Mechanism != SASLOAuthBearer && (o.TokenURL+o.ClientID+o.Scope+o.CAFile+o.TokenFile != "" || o.ClientSecret.IsSet() || len(o.Extensions) > 0) {
		k.wrong("kafka.sasl.oauth", "is given, yet mechanism is "+c.Mechanism, "write mechanism: oauthbearer")
	}
	if c.Mechanism != SASLMSKIAM && c.AWSRegion != "" {
		k.wrong("kafka.sasl.aws_region", "is given, yet mechanism is "+c.Mechanism, "write mechanism: aws-msk-iam")
	}
}

var (
	extensionName  = regexp.MustCompile(`^[A-Za-z]+$`)    // RFC 7628, 3.1
	extensionValue = regexp.MustCompile(`^[\x20-\x7e]+$`) // without what ends it
)

func (k *checker) oauth(c *OAuth) {
	const key = "kafka.sasl.oauth"
	switch {
	case c.TokenURL == "" && c.TokenFile == "":
		k.wrong(key, "has neither token_url nor token_file", "write one of them")
	case c.TokenURL != "" && c.TokenFile != "":
		k.wrong(key, "has both token_url and token_file", "keep one of them")
	case c.TokenFile != "":
		k.file(key+".token_file", c.TokenFile, "name a file that this user may read")
		if c.ClientID != "" || c.ClientSecret.IsSet() || c.Scope != "" || c.CAFile != "" {
			k.wrong(key, "has a token_file, and keys of a token_url", "take out client_id, client_secret, scope and ca_file")
		}
	default:
		u, err := url.Parse(c.TokenURL)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			k.wrong(key+".token_url", strconv.Quote(c.TokenURL)+" is no address of a token endpoint", "write one such as https://issuer.example.com/oauth2/token")
		case u.User != nil:
			k.wrong(key+".token_url", "holds a user name", "write client_id and client_secret")
		case u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "80")):
			k.wrong(key+".token_url", strconv.Quote(c.TokenURL)+" would send the secret in clear", "write https")
		}
		if c.ClientID == "" {
			k.wrong(key+".client_id", "is missing", "write the id of the client")
		}
		if !c.ClientSecret.IsSet() {
			k.wrong(key+".client_secret", "is missing or empty", "write ${NAME} for an environment variable, or file:PATH")
		}
		if c.CAFile != "" {
			k.file(key+".ca_file", c.CAFile, "name a PEM file that this user may read")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extensions)) {
		if !extensionName.MatchString(name) || name == "auth" || !extensionValue.MatchString(c.Extensions[name]) {
			k.wrong(key+".extensions."+name, "is no SASL extension", "write a name of letters other than auth, and a value of printable ASCII")
		}
	}
}

// file checks that a file is there.
func (k *checker) file(key, path, fix string) {
	if _, err := os.Stat(path); err != nil {
		k.wrong(key, "can't be read: "+err.Error(), fix)
	}
}

func (k *checker) topics(c *Config, forms Forms) {
	if len(c.Sources) == 0 {
		k.wrong("sources", "is empty: nothing would be read", "name at least one source")
	}
	names, topics := map[string]string{}, map[string]string{}
	for i, s := range c.Sources {
		key := fmt.Sprintf("sources[%d]", i)
		switch {
		case s.Name == "":
			k.wrong(key+".name", "is missing", "write a name such as copilots")
		case !sourceName.MatchString(s.Name):
			k.wrong(key+".name", strconv.Quote(s.Name)+" is not a source name", "use letters, digits, . _ and -")
		default:
			k.unique(names, key+".name", s.Name, "names must differ")
		}
		k.topic(topics, key+".topic", s.Topic)
		k.oneOf(key+".decoder", s.Decoder, forms.Decoders...)
		if slices.Contains(forms.Decoders, s.Decoder) && forms.CheckDecoder != nil {
			k.options(key+".options", forms.CheckDecoder(s.Decoder, s.Options))
		}
		if s.Incarnation == 0 {
			k.wrong(key+".incarnation", "is 0", "write 1, or more after the topic was created again")
		}
		k.oneOf(key+".dead_letters", s.DeadLetters, DeadLettersRecord, DeadLettersMetadata)
	}
	for i, o := range c.Outputs {
		key := fmt.Sprintf("outputs[%d]", i)
		k.topic(topics, key+".topic", o.Topic)
		if o.Format == "" {
			k.wrong(key+".format", "is missing", oneOf("", forms.Formats))
		} else {
			k.oneOf(key+".format", o.Format, forms.Formats...)
		}
		k.filter(key, &o, forms)
	}
	if c.Decide.LogTopic != "" {
		k.topic(topics, "decide.log_topic", c.Decide.LogTopic)
	}
}

// filter checks what an output wants.
func (k *checker) filter(key string, o *Output, forms Forms) {
	if o.Syslog && !slices.Contains(forms.Syslog, o.Format) {
		k.wrong(key+".syslog", "is true, and "+strconv.Quote(o.Format)+" is no line of text", "take it out, or choose "+strings.Join(forms.Syslog, " or "))
	}
	k.oneOf(key+".min_severity", o.MinSeverity, schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical)
	for i, s := range o.Status {
		k.oneOf(fmt.Sprintf("%s.status[%d]", key, i), s, schemas.StatusOpen, schemas.StatusUpdate, schemas.StatusClose)
	}
	for i, s := range o.Kinds {
		k.oneOf(fmt.Sprintf("%s.kinds[%d]", key, i), s, schemas.KindBehavior, schemas.KindIdentity, schemas.KindPolicy)
	}
	for i, t := range o.Tenants {
		if !schemas.ValidTenant(t) {
			k.wrong(fmt.Sprintf("%s.tenants[%d]", key, i), strconv.Quote(t)+" is no tenant", "write 1 to 64 of A-Z a-z 0-9 . _ -")
		}
	}
}

// options reports what a decoder says about its options.
func (k *checker) options(key string, err error) {
	var mistakes decode.OptionErrors
	switch {
	case errors.As(err, &mistakes):
		for _, m := range mistakes {
			k.wrong(key+"."+m.Key, m.Problem, m.Fix)
		}
	case err != nil:
		k.wrong(key, err.Error(), "")
	}
}

// topic checks a topic that the config names: it belongs to one source or output
// alone, else events would be read twice, or alerts read as events.
func (k *checker) topic(seen map[string]string, key, topic string) {
	switch {
	case topic == "":
		k.wrong(key, "is missing", "write the name of the topic")
	case strings.HasPrefix(topic, ownTopics):
		k.wrong(key, strconv.Quote(topic)+" is one of Plumbline's own topics: what it writes there would come back to it", "name a topic that does not begin with "+ownTopics)
	case topic == "." || topic == ".." || !topicName.MatchString(topic):
		k.wrong(key, strconv.Quote(topic)+" is not a Kafka topic name", "use at most 249 letters, digits, . _ and -")
	default:
		k.unique(seen, key, topic, "each topic belongs to one source or one output")
	}
}

func (k *checker) unique(seen map[string]string, key, value, fix string) {
	if first, ok := seen[value]; ok {
		k.wrong(key, strconv.Quote(value)+" stands in "+first+" already", fix)
		return
	}
	seen[value] = key
}

func (k *checker) clickhouse(c *ClickHouse) {
	k.endpoints("clickhouse.addr", c.Addr)
	k.oneOf("clickhouse.protocol", c.Protocol, ProtocolHTTP, ProtocolNative)
	if !identifier.MatchString(c.Database) {
		k.wrong("clickhouse.database", strconv.Quote(c.Database)+" is not a database name", "use letters, digits and _, a letter first")
	}
	if c.Cluster != "" && !clusterName.MatchString(c.Cluster) {
		k.wrong("clickhouse.cluster", strconv.Quote(c.Cluster)+" is not the name of a cluster", "use letters, digits, _, - and ., a letter, digit or _ first")
	}
	if c.Username == "" {
		k.wrong("clickhouse.username", "is empty", "write a user name such as default")
	}
	k.tls("clickhouse.tls", &c.TLS)
	between(k, "clickhouse.retention_days", c.RetentionDays, 1, 36500)
	if n, err := strconv.Atoi(c.InsertQuorum); c.InsertQuorum != "" && c.InsertQuorum != "auto" && (err != nil || n < 1) {
		k.wrong("clickhouse.insert_quorum", strconv.Quote(c.InsertQuorum)+" is not a number of replicas", `write auto, or a number in quotes such as "2"`)
	}
	if !c.Addr.Embedded() {
		return
	}
	if c.Protocol == ProtocolNative {
		k.wrong("clickhouse.protocol", "is native, which the embedded engine does not speak", "write http, or the addr of a server")
	}
	if c.Username != "default" && c.Username != "" {
		k.wrong("clickhouse.username", strconv.Quote(c.Username)+" is nobody whom the embedded engine knows", "write default, or the addr of a server")
	}
	if c.Cluster != "" {
		k.wrong("clickhouse.cluster", strconv.Quote(c.Cluster)+" is a cluster, yet the embedded engine is one server", "leave it empty, or write the addr of a server")
	}
	if c.TLS.Enabled {
		k.wrong("clickhouse.tls.enabled", "is true, yet the embedded engine has no certificate", "write false, or the addr of a server")
	}
}

func (k *checker) embedded(c *Embedded) {
	for _, l := range []struct{ key, addr string }{
		{"embedded.kafka_listen", c.KafkaListen},
		{"embedded.clickhouse_listen", c.ClickHouseListen},
	} {
		if k.listen(l.key, l.addr) && !c.AllowRemote && !loopback(l.addr) {
			k.wrong(l.key, strconv.Quote(l.addr)+" can be reached from other machines, and the embedded stack asks nobody for a password",
				"write 127.0.0.1:PORT, or embedded.allow_remote: true")
		}
	}
}

// distinctListens finds two of our own listeners at one address.
func (k *checker) distinctListens(c *Config) {
	seen := map[string]string{}
	for _, l := range []struct {
		key, addr string
		used      bool
	}{
		{"embedded.kafka_listen", c.Embedded.KafkaListen, c.Kafka.Brokers.Embedded()},
		{"embedded.clickhouse_listen", c.Embedded.ClickHouseListen, c.ClickHouse.Addr.Embedded()},
		{"admin.listen", c.Admin.Listen, c.Admin.Listen != NoListen},
		{"decide.listen", c.Decide.Listen, c.Decide.Listen != Default().Decide.Listen},
	} {
		if l.used && !strings.HasSuffix(l.addr, ":0") {
			k.unique(seen, l.key, l.addr, "give each its own port")
		}
	}
}

// listen checks an address to listen on.
func (k *checker) listen(key, addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		if _, err = strconv.ParseUint(port, 10, 16); err == nil {
			return true
		}
	}
	k.wrong(key, strconv.Quote(addr)+" is not an address to listen on", "write host:port, such as 127.0.0.1:9600")
	return false
}

// loopback reports whether only this machine can reach addr.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (k *checker) endpoints(key string, es Endpoints) {
	if len(es) == 0 {
		k.wrong(key, "is empty", "write embedded, or host:port, or [host:port, host:port]")
		return
	}
	if es.Embedded() {
		return
	}
	seen := map[string]string{}
	for i, e := range es {
		at := key
		if len(es) > 1 {
			at = fmt.Sprintf("%s[%d]", key, i)
		}
		host, port, err := net.SplitHostPort(e)
		n, perr := strconv.ParseUint(port, 10, 16)
		switch {
		case e == EmbeddedValue:
			k.wrong(at, "embedded stands among other addresses", "write embedded alone, or addresses alone")
		case strings.Contains(e, "://"):
			k.wrong(at, strconv.Quote(e)+" has a scheme in front", "write host:port alone; tls and protocol are keys of their own")
		case err != nil || perr != nil || host == "" || n == 0 || strings.ContainsAny(host, " /@,"):
			fix := "write host:port, such as kafka-1:9092"
			if d := Closest(e, []string{EmbeddedValue}); d != "" {
				fix = "write embedded"
			} else if strings.Contains(e, ",") {
				fix = "write a list: [host:port, host:port]"
			}
			k.wrong(at, strconv.Quote(e)+" is not an address", fix)
		default:
			k.unique(seen, at, e, "name each once")
		}
	}
}

func (k *checker) tls(key string, t *TLS) {
	files := []struct{ key, path string }{{"ca_file", t.CAFile}, {"cert_file", t.CertFile}, {"key_file", t.KeyFile}}
	if !t.Enabled {
		for _, f := range append(files, struct{ key, path string }{"server_name", t.ServerName}) {
			if f.path != "" {
				k.wrong(key+"."+f.key, "is given, yet tls is not enabled", "write enabled: true beside it")
			}
		}
		return
	}
	for _, f := range files {
		if f.path != "" {
			k.file(key+"."+f.key, f.path, "name a PEM file that this user may read")
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		k.wrong(key, "has only one of cert_file and key_file", "give both, or neither")
	}
}

func (k *checker) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		k.wrong(key, strconv.Quote(value)+" is not known", oneOf(value, allowed))
	}
}

// between checks a number, size or duration against its limits, both permitted.
func between[T ~int | ~int16 | ~int32 | ~int64](k *checker, key string, v, low, high T) {
	if v < low || v > high {
		k.wrong(key, fmt.Sprint(v)+" is out of range", fmt.Sprintf("write one from %v to %v", low, high))
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
