package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// MaxRecordBytes is the largest record value that topics created by EnsureTopics
// take. Their max.message.bytes leaves room for key, headers and framing.
const (
	MaxRecordBytes  = 10 << 20
	maxMessageBytes = MaxRecordBytes + 64<<10
)

// The topic settings that EnsureTopics knows.
const (
	configTimestampType = "message.timestamp.type"
	configMaxMessage    = "max.message.bytes"
	configCleanup       = "cleanup.policy"
	configMinISR        = "min.insync.replicas"
	configRetentionMS   = "retention.ms"
	configRetentionSize = "retention.bytes"
)

// TopicSpec says what a topic should be.
type TopicSpec struct {
	Name        string
	Partitions  int32 // zero: 1
	Replication int16 // zero: one per broker, at most 3

	// Configs are set at creation, over the defaults: the broker's append time,
	// records of up to 10 MiB, deletion (no compaction), and as many in-sync
	// replicas as survive the loss of none but one.
	Configs map[string]string

	// CheckPartitions refuses an existing topic with another number of partitions.
	CheckPartitions bool
	// Foreign topics are created where missing and otherwise left to their owner:
	// nothing about an existing one is checked.
	Foreign bool
}

// TopicProblem is one thing about an existing topic that must be changed.
type TopicProblem struct {
	Topic   string
	Setting string // "partitions", or the name of a topic setting
	Have    string
	Want    string
	Why     string
	Command string // what changes it; empty where no command does
}

// TopicsError lists everything that is wrong with the topics.
type TopicsError struct{ Problems []TopicProblem }

func (e *TopicsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d topic settings must be changed:", len(e.Problems))
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  topic %s: %s is %s, must be %s (%s)", p.Topic, p.Setting, p.Have, p.Want, p.Why)
		if p.Command != "" {
			b.WriteString("; run: " + p.Command)
		}
	}
	return b.String()
}

// EnsureTopics creates the topics that are missing and checks those that are
// there. It changes no existing topic: what must be changed is in a *TopicsError.
// Several instances may call it at once.
func (c *Client) EnsureTopics(ctx context.Context, specs []TopicSpec) error {
	m, err := c.clusterMetadata(ctx)
	if err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	var missing, existing []TopicSpec
	for _, s := range specs {
		if _, ok := m.partitions[s.Name]; ok {
			existing = append(existing, s)
		} else {
			missing = append(missing, s)
		}
	}
	raced, err := c.createTopics(ctx, missing, m.brokers)
	if err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	if len(raced) > 0 {
		if m, err = c.awaitTopics(ctx, raced); err != nil {
			return fmt.Errorf("ensure topics: %w", err)
		}
		existing = append(existing, raced...)
	}
	if err := c.checkTopics(ctx, existing, m); err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	return nil
}

type clusterState struct {
	brokers    int
	partitions map[string]int32
	replicas   map[string]int
}

func (c *Client) clusterMetadata(ctx context.Context) (clusterState, error) {
	m, err := c.metadata(ctx)
	if err != nil {
		return clusterState{}, err
	}
	out := clusterState{brokers: len(m.Brokers), partitions: make(map[string]int32), replicas: make(map[string]int)}
	for _, t := range m.Topics {
		if t.ErrorCode == 0 && len(t.Partitions) > 0 {
			out.partitions[t.Name] = int32(len(t.Partitions))
			out.replicas[t.Name] = len(t.Partitions[0].ReplicaNodes)
		}
	}
	return out, nil
}

// awaitTopics waits until the transport's view of the cluster holds topics that
// another instance created a moment ago.
func (c *Client) awaitTopics(ctx context.Context, specs []TopicSpec) (clusterState, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := c.clusterMetadata(ctx)
		if err != nil {
			return m, err
		}
		if !slices.ContainsFunc(specs, func(s TopicSpec) bool { _, ok := m.partitions[s.Name]; return !ok }) {
			return m, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return m, fmt.Errorf("topics that another instance created do not appear: %w", ctx.Err())
		}
	}
}

// createTopics returns those that somebody else created first.
func (c *Client) createTopics(ctx context.Context, specs []TopicSpec, brokers int) ([]TopicSpec, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	req := &kafkago.CreateTopicsRequest{}
	for _, s := range specs {
		replicas := int(cmp.Or(s.Replication, int16(max(1, min(3, brokers)))))
		tc := kafkago.TopicConfig{Topic: s.Name, NumPartitions: int(max(1, s.Partitions)), ReplicationFactor: replicas}
		configs := settings(s, replicas)
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			tc.ConfigEntries = append(tc.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: configs[name]})
		}
		req.Topics = append(req.Topics, tc)
	}
	res, err := c.client.CreateTopics(ctx, req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	var raced []TopicSpec
	var errs []error
	for _, s := range specs {
		switch err := res.Errors[s.Name]; {
		case err == nil:
			c.logger.Info().Str("topic", s.Name).Int32("partitions", max(1, s.Partitions)).Msg("created topic")
		case errors.Is(err, kafkago.TopicAlreadyExists):
			raced = append(raced, s)
		default:
			errs = append(errs, fmt.Errorf("create topic %s: %w", s.Name, c.hint(err)))
		}
	}
	return raced, errors.Join(errs...)
}

// settings are those of a new topic.
func settings(s TopicSpec, replicas int) map[string]string {
	out := map[string]string{
		configTimestampType: "LogAppendTime",
		configMaxMessage:    strconv.Itoa(maxMessageBytes),
		configCleanup:       "delete",
	}
	if replicas > 1 {
		out[configMinISR] = "2"
	}
	maps.Copy(out, s.Configs)
	return out
}

// checkTopics compares existing topics with their specs.
func (c *Client) checkTopics(ctx context.Context, specs []TopicSpec, m clusterState) error {
	specs = slices.DeleteFunc(slices.Clone(specs), func(s TopicSpec) bool { return s.Foreign })
	if len(specs) == 0 {
		return nil
	}
	req := &kafkago.DescribeConfigsRequest{}
	for _, s := range specs {
		req.Resources = append(req.Resources, kafkago.DescribeConfigRequestResource{ResourceType: kafkago.ResourceTypeTopic, ResourceName: s.Name})
	}
	res, err := c.client.DescribeConfigs(ctx, req)
	if err != nil {
		return c.explain(ctx, err)
	}
	have := make(map[string]map[string]string)
	for _, r := range res.Resources {
		if errors.Is(r.Error, kafkago.TopicAuthorizationFailed) {
			// Reading and writing may be all that we are granted.
			c.logger.Warn().Str("topic", r.ResourceName).Msg("the settings of the topic can't be checked: no permission to DescribeConfigs")
			continue
		}
		if r.Error != nil {
			return fmt.Errorf("describe topic %s: %w", r.ResourceName, c.hint(r.Error))
		}
		have[r.ResourceName] = make(map[string]string)
		for _, e := range r.ConfigEntries {
			have[r.ResourceName][e.ConfigName] = e.ConfigValue
		}
	}
	var problems []TopicProblem
	for _, s := range specs {
		if p, ok := c.checkPartitions(s, m.partitions[s.Name]); !ok {
			problems = append(problems, p)
		}
		problems = append(problems, c.checkSettings(s, have[s.Name], m.replicas[s.Name])...)
	}
	if len(problems) > 0 {
		return &TopicsError{Problems: problems}
	}
	return nil
}

func (c *Client) checkPartitions(s TopicSpec, have int32) (TopicProblem, bool) {
	want := max(1, s.Partitions)
	if !s.CheckPartitions || have == want {
		return TopicProblem{}, true
	}
	p := TopicProblem{
		Topic: s.Name, Setting: "partitions", Have: strconv.Itoa(int(have)), Want: strconv.Itoa(int(want)),
		Why: "an agent's records must stay in the partition that holds its baseline: set the config to what the topic has",
	}
	if have < want {
		p.Why += ", or add partitions while nothing runs and then move the state with `plumbline state split`"
		p.Command = fmt.Sprintf("kafka-topics.sh --bootstrap-server %s --alter --topic %s --partitions %d", c.cfg.Brokers[0], s.Name, want)
	}
	return p, false
}

// A rule says when the setting of an existing topic will do.
type rule struct {
	setting string
	why     string
	fits    func(have, want string) bool
}

var rules = []rule{
	{configTimestampType, "else a producer chooses the time under which its records count", equal},
	{configCleanup, "compaction would remove records that are needed", equal},
	{configMaxMessage, "else large records are refused", atLeast},
	{configMinISR, "else an acknowledged record is lost with one broker", atLeast},
	{configRetentionMS, "else the broker removes state that is still needed", unlimited},
	{configRetentionSize, "else the broker removes state that is still needed", unlimited},
}

func equal(have, want string) bool { return have == want }

func atLeast(have, want string) bool {
	h, herr := strconv.ParseInt(have, 10, 64)
	w, werr := strconv.ParseInt(want, 10, 64)
	return herr == nil && werr == nil && h >= w
}

// unlimited: how long to keep what can be computed again is the operator's choice;
// only where the spec says "for ever" is less wrong.
func unlimited(have, want string) bool { return want != "-1" || have == "-1" }

func (c *Client) checkSettings(s TopicSpec, have map[string]string, replicas int) []TopicProblem {
	want := settings(s, replicas)
	var out []TopicProblem
	for _, r := range rules {
		w, wanted := want[r.setting]
		h, known := have[r.setting]
		if !wanted || !known || r.fits(h, w) {
			continue
		}
		out = append(out, TopicProblem{
			Topic: s.Name, Setting: r.setting, Have: h, Want: w, Why: r.why,
			Command: fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --entity-type topics --entity-name %s --alter --add-config %s=%s",
				c.cfg.Brokers[0], s.Name, r.setting, w),
		})
	}
	return out
}
