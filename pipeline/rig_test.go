package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/archive"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
	"github.com/plumbline-sec/plumbline/pipeline/route"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	sourceTopic   = "agent-activity"
	registryTopic = "agent-registry"
	ocsfTopic     = "siem.ocsf"
)

var (
	source    = pipeline.TopicPartition{Topic: sourceTopic}
	activity  = pipeline.TopicPartition{Topic: pipeline.TopicActivity}
	baselines = pipeline.TopicPartition{Topic: pipeline.TopicBaselines}
)

// rig is the pipeline over Kafka and a warehouse in memory.
type rig struct {
	t           *testing.T
	cluster     *pipelinetest.Cluster
	kafka       pipeline.Log // what the roles read and write: the cluster, or a wrapper of it
	outputs     []detect.Output
	warehouse   *pipelinetest.Warehouse
	partitions  int32
	form        string // of the source
	lettersBare bool   // dead letters are metadata only
	level       zerolog.Level
	detectors   detector.Config
	every       time.Duration // between checkpoints
	whole       int64         // detect.Config.WholeBelow
	fresh       bool          // on lost state
	ticks       time.Duration // route.Ticks.Every
	log         *bytes.Buffer
	logMu       sync.Mutex
}

func newRig(t *testing.T, partitions int32) *rig {
	t.Helper()
	// A bubble of synctest begins in 2000, and no event happens after its record was appended.
	time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
	r := &rig{
		t: t, cluster: pipelinetest.NewCluster(), warehouse: pipelinetest.NewWarehouse(),
		partitions: partitions, form: "activity", level: zerolog.WarnLevel, detectors: detector.DefaultConfig(), every: 20 * time.Millisecond, log: &bytes.Buffer{},
	}
	r.kafka = r.cluster
	r.outputs = []detect.Output{{Topic: ocsfTopic, Encoder: siem.OCSF}}
	r.cluster.SetFetch(5*time.Millisecond, 100)
	for _, topic := range []string{sourceTopic, registryTopic, pipeline.TopicActivity, pipeline.TopicAlerts, pipeline.TopicWindows, pipeline.TopicBaselines, ocsfTopic} {
		r.cluster.CreateTopic(topic, partitions)
	}
	r.cluster.CreateTopic(pipeline.TopicDeadLetter, 1)
	return r
}

func (r *rig) Write(p []byte) (int, error) {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.Write(p)
}

func (r *rig) logged() string {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.String()
}

// send appends lines to the source as `plumbline send` does, and registrations to theirs.
func (r *rig) send(lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		var id struct {
			TenantID string `json:"tenant_id"`
			AgentID  string `json:"agent_id"`
			Record   string `json:"record"`
		}
		_ = json.Unmarshal([]byte(line), &id)
		if id.TenantID == "" {
			id.TenantID = schemas.DefaultTenant
		}
		key := schemas.AppendKey(nil, id.TenantID, id.AgentID)
		tp := pipeline.TopicPartition{Topic: sourceTopic, Partition: schemas.Partition(key, r.partitions)}
		if id.Record == schemas.RecordRegistration {
			tp.Topic = registryTopic
		}
		_, err := r.cluster.Put(tp, pipeline.Record{Key: key, Value: []byte(line)})
		require.NoError(r.t, err)
	}
}

// service is one running instance of some roles.
type service struct {
	metrics *pipeline.Metrics
	detect  *detect.Metrics
	health  map[string]*pipeline.Health
	ended   func() error // waits until the roles end by themselves
	stop    func() error
	reload  func(detector.Config) error // of detect
}

func (r *rig) start(roles ...string) *service {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	reg := prometheus.NewRegistry()
	s := &service{metrics: pipeline.NewMetrics(reg), detect: detect.NewMetrics(reg), health: make(map[string]*pipeline.Health)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, name := range roles {
		role := pipeline.Role{Log: r.kafka, Metrics: s.metrics, Health: pipeline.NewHealth(), Logger: zerolog.New(r).Level(r.level)}
		s.health[name] = role.Health
		var run func(context.Context) error
		var g *pipelinetest.Member
		switch name {
		case "route":
			g = r.cluster.Group(pipeline.GroupRoute, sourceTopic, registryTopic)
			sources := []route.Source{
				{Name: "default", Topic: sourceTopic, Incarnation: 1, DeadLetterValues: !r.lettersBare, NewDecoder: func() (decode.Decoder, error) { return forms.New(r.form, nil) }},
				{Name: "registry", Topic: registryTopic, Incarnation: 1, DeadLetterValues: true, NewDecoder: func() (decode.Decoder, error) { return forms.New("registration", nil) }},
			}
			rt := route.New(role, g, sources, route.NewMetrics(reg))
			rt.Ticks = route.Ticks{Offsets: r.cluster, Every: r.ticks}
			run = rt.Run
		case "detect":
			g = r.cluster.Group(pipeline.GroupDetect, pipeline.TopicActivity)
			cfg := detect.Config{Detector: r.detectors, Outputs: r.outputs, CheckpointEvery: r.every, WholeBelow: r.whole, FreshOnLostState: r.fresh}
			d, err := detect.New(role, g, cfg, s.detect)
			require.NoError(r.t, err)
			run, s.reload = d.Run, d.Reload
		case "archive":
			g = r.cluster.Group(pipeline.GroupArchive, pipeline.TopicActivity, pipeline.TopicAlerts, pipeline.TopicWindows)
			limits := archive.Limits{Rows: 1000, Bytes: 1 << 20, Age: 10 * time.Millisecond}
			run = archive.New(role, g, r.warehouse, limits, archive.NewMetrics(reg)).Run
		}
		wg.Go(func() {
			if err := run(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				cancel()
			}
			_ = g.Close()
		})
	}
	s.ended = func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
	s.stop = func() error {
		cancel()
		return s.ended()
	}
	r.t.Cleanup(func() { _ = s.stop() })
	return s
}

var allRoles = []string{"route", "detect", "archive"}

// run has a service work off everything that is there.
func (r *rig) run(roles ...string) *service {
	r.t.Helper()
	s := r.start(roles...)
	r.settled(roles...)
	require.NoError(r.t, s.stop())
	return s
}

// settled waits until the groups have committed everything that is in their
// topics.
func (r *rig) settled(roles ...string) {
	r.t.Helper()
	read := map[string][]string{
		"route":   {sourceTopic, registryTopic},
		"detect":  {pipeline.TopicActivity},
		"archive": {pipeline.TopicActivity, pipeline.TopicAlerts, pipeline.TopicWindows},
	}
	require.Eventually(r.t, func() bool {
		for _, role := range roles {
			for _, topic := range read[role] {
				for p := range r.partitions {
					tp := pipeline.TopicPartition{Topic: topic, Partition: p}
					_, end, err := r.cluster.Bounds(context.Background(), tp)
					committed, ok := r.cluster.Committed("plumbline-"+role, tp)
					if err != nil || (end > 0 && (!ok || committed != end)) {
						return false
					}
				}
			}
		}
		return true
	}, 20*time.Second, 5*time.Millisecond, "the roles did not catch up; log:\n%s", r.logged())
}

func line(agent string, n int, at time.Time, extra string) string {
	return fmt.Sprintf(`{"event_id":"%s-%d","time":"%s","agent_id":"%s","session_id":"s","action":"tool_call","tool":"read_file","access":"read","resources":["file:a.txt"],"bytes_sent":100,"bytes_received":2000%s}`,
		agent, n, at.UTC().Format(time.RFC3339Nano), agent, extra)
}

// events sends so many events of some agents in turn, a second apart.
func (r *rig) events(agents, n int) {
	r.t.Helper()
	start := time.Now().Add(-time.Hour)
	for i := range n {
		r.send(line("agent-"+strconv.Itoa(i%agents), i, start.Add(time.Duration(i)*time.Second), ""))
	}
}

// fleet is three weeks of honest work, and then one agent that sends everything
// it can reach to places nobody ever sent anything to.
func fleet(agents int) []string {
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	var out []string
	n := 0
	for hour := range 21 * 24 {
		for a := range agents {
			for k := range 1 + (a+hour)%2 {
				n++
				out = append(out, line("agent-"+strconv.Itoa(a), n, start.Add(time.Duration(hour)*time.Hour+time.Duration(a*60+k)*time.Second), ""))
			}
		}
	}
	for k := range 400 {
		n++
		out = append(out, line("agent-0", n, start.Add(21*24*time.Hour+time.Duration(k)*time.Second),
			fmt.Sprintf(`,"tool":"send_email","access":"send","resources":["email:drop%d@evil.example"],"bytes_sent":5000000`, k)))
	}
	return out
}
