package decide

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const policies = `
@id("reads") permit (principal, action == Plumbline::Action::"read", resource);
@id("mails") permit (principal, action == Plumbline::Action::"send", resource) when { resource.site == "example.com" };
@id("hands-over") permit (principal, action == Plumbline::Action::"delegate", resource is Plumbline::Agent);
@id("not-under-alert") forbid (principal, action, resource is Plumbline::Resource)
when { resource.leaves && (principal.risk == "high" || principal.risk == "critical") };
@id("registered") forbid (principal, action == Plumbline::Action::"write", resource) when { !principal.registered };
@id("writes") permit (principal, action == Plumbline::Action::"write", resource);
@id("tried") @mode("observe") forbid (principal, action, resource) when { context.tool == "old" };
@id("overflows") forbid (principal, action == Plumbline::Action::"auth", resource) when { context.bytes_sent * 9223372036854775807 > 0 };
@id("auth") permit (principal, action == Plumbline::Action::"auth", resource);
`

const token = "0123456789abcdef"

// rig is the role over Kafka in memory.
type rig struct {
	*Decide
	t       testing.TB
	cluster *pipelinetest.Cluster
	url     string
	stop    func()
}

func newRole(tb testing.TB, cluster *pipelinetest.Cluster, change func(*Config)) *Decide {
	tb.Helper()
	set, err := policy.Parse([]policy.File{{Name: "p.cedar", Text: []byte(policies)}}, policy.Options{DefaultDeny: true})
	require.NoError(tb, err)
	cfg := Config{
		Policies: set, StaleAfter: time.Minute, RiskFor: time.Hour, Token: token,
		Registrations: []Source{{Topic: "agent-registry", NewDecoder: func() (decode.Decoder, error) { return forms.New("registration", nil) }}},
	}
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	d, err := New(pipeline.Role{Log: cluster, Metrics: pipeline.NewMetrics(reg), Logger: zerolog.Nop()}, cfg, NewMetrics(reg))
	require.NoError(tb, err)
	return d
}

func newCluster() *pipelinetest.Cluster {
	c := pipelinetest.NewCluster()
	c.CreateTopic("agent-registry", 2)
	c.CreateTopic(pipeline.TopicAlerts, 2)
	return c
}

func run(tb testing.TB, cluster *pipelinetest.Cluster, change func(*Config)) *rig {
	tb.Helper()
	d := newRole(tb, cluster, change)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, ln, func(h http.Handler) http.Handler { return h }) }()
	var once atomic.Bool
	r := &rig{Decide: d, t: tb, cluster: cluster, url: "http://" + ln.Addr().String()}
	r.stop = func() {
		if once.CompareAndSwap(false, true) {
			http.DefaultClient.CloseIdleConnections()
			cancel()
			require.NoError(tb, <-done)
		}
	}
	tb.Cleanup(r.stop)
	return r
}

func (r *rig) ready() *rig {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.Ready() == nil }, 10*time.Second, 5*time.Millisecond)
	return r
}

// read waits until n records of a topic are read.
func (r *rig) read(topic string, n int) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		return testutil.ToFloat64(r.Metrics.Records.WithLabelValues("decide", topic)) >= float64(n)
	}, 10*time.Second, 2*time.Millisecond)
}

func (r *rig) post(path, body string, head ...string) (int, string, http.Header) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, r.url+path, strings.NewReader(body))
	require.NoError(r.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(head); i += 2 {
		if req.Header.Set(head[i], head[i+1]); head[i+1] == "" {
			req.Header.Del(head[i])
		}
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	require.NoError(r.t, res.Body.Close())
	return res.StatusCode, string(b), res.Header
}

type answered struct {
	Decision *bool `json:"decision"`
	Context  struct {
		Reason     string   `json:"reason"`
		Policies   []string `json:"policies"`
		Observed   []string `json:"observed"`
		Failed     []string `json:"failed"`
		Registered bool     `json:"registered"`
		Risk       string   `json:"risk"`
		Error      *struct {
			Status  int    `json:"status"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"context"`
}

func (r *rig) evaluate(body string) (a answered) {
	r.t.Helper()
	status, text, _ := r.post(pathEvaluation, body)
	require.Equal(r.t, 200, status, text)
	require.NoError(r.t, json.Unmarshal([]byte(text), &a))
	require.NotNil(r.t, a.Decision)
	return a
}

func question(action, kind, id, context string) string {
	return fmt.Sprintf(`{"subject":{"type":"agent","id":"crm-1","properties":{"tenant_id":"acme"}},"action":{"name":%q},"resource":{"type":%q,"id":%q},"context":{%s}}`, action, kind, id, context)
}

func put(tb testing.TB, c *pipelinetest.Cluster, topic string, partition int32, value string) {
	tb.Helper()
	_, err := c.Put(pipeline.TopicPartition{Topic: topic, Partition: partition}, pipeline.Record{Value: []byte(value)})
	require.NoError(tb, err)
}

func alertOf(episode, status, kind, severity string) string {
	return fmt.Sprintf(`{"alert_id":"x","episode_id":%q,"status":%q,"kind":%q,"tenant_id":"acme","agent":{"id":"crm-1"},"severity":"low","episode":{"severity":%q}}`, episode, status, kind, severity)
}

func TestAQuestionIsAnsweredWithTheDecisionAndItsReasons(t *testing.T) {
	r := run(t, newCluster(), nil).ready()
	for name, c := range map[string]struct {
		body     string
		permit   bool
		policies []string
		reason   string
	}{
		"permitted":                            {question("read", "s3", "b/k", ``), true, []string{"reads"}, "permitted"},
		"at a site":                            {question("send", "email", "a@example.com", ``), true, []string{"mails"}, "permitted"},
		"by default":                           {question("send", "email", "a@evil.example", ``), false, []string{}, "no policy permits it: policy.default"},
		"the worst counts":                     {question("send", "email", "a@example.com", `"resources":["email:b@evil.example"]`), false, []string{}, "no policy permits it: policy.default"},
		"forbidden":                            {question("write", "db", "crm", ``), false, []string{"registered"}, "denied by policy"},
		"another agent":                        {question("delegate", "agent", "clerk", ``), true, []string{"hands-over"}, "permitted"},
		"a tool is no resource, and no action": {question("tools/call", "tool", "read", ``), false, []string{}, "no policy permits it: policy.default"},
		"a tool that reads":                    {question("tools/call", "tool", "crm.get", `"access":"read"`), true, []string{"reads"}, "permitted"},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.evaluate(c.body)
			require.Equal(t, c.permit, *a.Decision)
			require.Equal(t, c.policies, a.Context.Policies)
			require.Equal(t, c.reason, a.Context.Reason)
			require.Nil(t, a.Context.Error)
		})
	}
	a := r.evaluate(question("tools/call", "tool", "old", `"access":"read"`))
	require.True(t, *a.Decision)
	require.Equal(t, []string{"tried"}, a.Context.Observed)
}

func TestTheNewestRegistrationAndTheOpenEpisodeCount(t *testing.T) {
	c := newCluster()
	now := time.Now().UTC()
	at := func(ago time.Duration) string { return now.Add(-ago).Format(time.RFC3339) }
	put(t, c, "agent-registry", 0, `{"tenant_id":"acme","agent_id":"crm-1","time":"`+at(time.Minute)+`","tools":["crm.*"]}`)
	put(t, c, "agent-registry", 1, `{"tenant_id":"acme","agent_id":"crm-1","time":"`+at(time.Hour)+`","tools":["mail.*"]}`)
	put(t, c, "agent-registry", 1, `not a registration`)
	put(t, c, "agent-registry", 1, `{"tenant_id":"acme","agent_id":"crm-2","time":"`+at(-4*time.Minute)+`"}`)
	put(t, c, pipeline.TopicAlerts, 0, alertOf("e1", "open", "behavior", "high"))
	put(t, c, pipeline.TopicAlerts, 1, alertOf("i1", "open", "identity", "critical"))
	put(t, c, pipeline.TopicAlerts, 1, `{`)
	r := run(t, c, nil).ready()

	a := r.evaluate(question("read", "s3", "b", `"tool":"crm.get"`))
	require.True(t, *a.Decision)
	require.True(t, a.Context.Registered)
	require.Equal(t, "high", a.Context.Risk)
	require.Equal(t, []string{"grant:tools:others"}, r.evaluate(question("read", "s3", "b", `"tool":"mail.get"`)).Context.Policies)
	require.Equal(t, []string{"not-under-alert"}, r.evaluate(question("send", "email", "a@example.com", `"tool":"crm.x"`)).Context.Policies)

	later := strings.Replace(question("read", "s3", "b", ``), "crm-1", "crm-2", 1)
	require.False(t, r.evaluate(later).Context.Registered, "not before it was said")

	put(t, c, pipeline.TopicAlerts, 0, alertOf("e1", "close", "behavior", "high"))
	r.read(pipeline.TopicAlerts, 4)
	require.Eventually(t, func() bool {
		return *r.evaluate(question("send", "email", "a@example.com", `"tool":"crm.x"`)).Decision
	}, 5*time.Second, 5*time.Millisecond)
	require.Empty(t, r.evaluate(question("read", "s3", "b", ``)).Context.Risk)
	require.InDelta(t, 1, testutil.ToFloat64(r.metrics.refused.WithLabelValues("registration")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(r.metrics.refused.WithLabelValues("alert")), 0)
}

func TestAnEpisodeThatNobodySpeaksOfExpires(t *testing.T) {
	reg := newRegistry()
	begin := time.Now()
	hear := func(id, status, severity string, at time.Time) {
		var a alert
		require.NoError(t, json.Unmarshal([]byte(alertOf(id, status, "behavior", severity)), &a))
		require.True(t, reg.heard(&a, at))
	}
	risk := func(since time.Time) string {
		_, risk, problem := reg.of("acme", "crm-1", since)
		require.Empty(t, problem)
		return risk
	}
	hear("e1", "open", "medium", begin)
	hear("e2", "open", "critical", begin.Add(time.Minute))
	require.Equal(t, "critical", risk(begin))
	hear("e1", "update", "high", begin.Add(2*time.Minute))
	require.Equal(t, "high", risk(begin.Add(90*time.Second)))
	require.Empty(t, risk(begin.Add(time.Hour)))
	reg.forget(begin.Add(90 * time.Second))
	require.Len(t, reg.risks["acme/crm-1"], 1)
	reg.forget(begin.Add(time.Hour))
	require.Empty(t, reg.risks)
	for i := range 3 * maxEpisodes {
		hear(fmt.Sprint(i), "open", "low", begin)
	}
	require.Len(t, reg.risks["acme/crm-1"], maxEpisodes)
}

func TestWhatCannotBeDecidedIsAnsweredAsConfigured(t *testing.T) {
	for name, permit := range map[string]bool{"closed": false, "open": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster()
			var away atomic.Bool
			away.Store(true)
			c.SetHooks(pipelinetest.Hooks{Fetch: func(pipeline.TopicPartition, int64) error {
				if away.Load() {
					return errors.New("no broker")
				}
				return nil
			}})
			r := run(t, c, func(cfg *Config) { cfg.Permit, cfg.StaleAfter = permit, 500*time.Millisecond })
			mails := question("send", "email", "a@evil.example", ``)
			check := func(message string) {
				t.Helper()
				require.Eventually(t, func() bool {
					a := r.evaluate(mails)
					return a.Context.Error != nil && a.Context.Error.Status == 503 && strings.Contains(a.Context.Error.Message, message) && *a.Decision == permit
				}, 5*time.Second, 10*time.Millisecond)
				require.Error(t, r.Ready())
			}
			check("is not read")
			away.Store(false)
			r.ready()
			require.Nil(t, r.evaluate(mails).Context.Error)
			require.False(t, *r.evaluate(mails).Decision)
			away.Store(true)
			check("could not be read for")
			away.Store(false)
			r.ready()

			a := r.evaluate(question("auth", "url", "https://x.example", `"bytes_sent":5`))
			require.Equal(t, permit, *a.Decision)
			require.Equal(t, []string{"overflows"}, a.Context.Failed)
			require.Equal(t, "a policy can't be evaluated", a.Context.Error.Message)

			r.registry.mu.Lock()
			r.registry.full = true
			r.registry.mu.Unlock()
			require.Equal(t, permit, *r.evaluate(mails).Decision)
			status, _, _ := r.post(pathEvaluation, `{}`)
			require.Equal(t, 400, status, "a mistake of the caller is never permitted")
		})
	}
}

func TestADenialStaysOneWhereAnotherPolicyFails(t *testing.T) {
	r := run(t, newCluster(), func(cfg *Config) {
		set, err := policy.Parse([]policy.File{{Name: "p.cedar", Text: []byte(`
			@id("no") forbid (principal, action, resource);
			@id("overflows") forbid (principal, action, resource) when { context.bytes_sent * 9223372036854775807 > 0 };`)}}, policy.Options{})
		require.NoError(t, err)
		cfg.Policies, cfg.Permit = set, true
	}).ready()
	a := r.evaluate(question("read", "s3", "b", `"bytes_sent":5`))
	require.False(t, *a.Decision)
	require.Nil(t, a.Context.Error)
	require.Equal(t, []string{"overflows"}, a.Context.Failed)
}

func TestOtherPoliciesDecideFromTheNextQuestionOn(t *testing.T) {
	sets := make([]*policy.Set, 2)
	for i, effect := range []string{"forbid", "permit"} {
		var err error
		sets[i], err = policy.Parse([]policy.File{{Name: "p.cedar", Text: []byte(`@id("p") ` + effect + ` (principal, action, resource);`)}}, policy.Options{})
		require.NoError(t, err)
	}
	r := run(t, newCluster(), func(cfg *Config) { cfg.Policies = sets[0] }).ready()
	for i := range 20 {
		a := r.evaluate(question("read", "s3", "b", `"bytes_sent":5`))
		require.Equal(t, i%2 == 1, *a.Decision)
		r.Reload(sets[(i+1)%2])
	}
}

func TestManyQuestionsFollowTheirSemantic(t *testing.T) {
	r := run(t, newCluster(), nil).ready()
	ask := func(semantic string) (out string) {
		body := `{"subject":{"type":"agent","id":"crm-1"},"action":{"name":"read"},"context":{"tool":"x"},"options":{"evaluations_semantic":"` + semantic + `"},"evaluations":[
			{"resource":{"type":"s3","id":"1"}},
			{"action":{"name":"write"},"resource":{"type":"s3","id":"2"}},
			{"resource":{"type":"s3"}},
			{"resource":{"type":"s3","id":"4"}}]}`
		status, text, _ := r.post(pathEvaluations, body)
		require.Equal(t, 200, status, text)
		var list struct{ Evaluations []answered }
		require.NoError(t, json.Unmarshal([]byte(text), &list))
		for _, a := range list.Evaluations {
			switch {
			case a.Context.Error != nil:
				require.Equal(t, 400, a.Context.Error.Status)
				require.Equal(t, "resource.id: is missing", a.Context.Error.Message)
				require.False(t, *a.Decision)
				out += "e"
			case *a.Decision:
				out += "p"
			default:
				out += "d"
			}
		}
		return out
	}
	require.Equal(t, "pdep", ask(executeAll))
	require.Equal(t, "pd", ask(denyOnFirstDeny))
	require.Equal(t, "p", ask(permitOnFirstPermit))
	status, text, _ := r.post(pathEvaluations, question("read", "s3", "b", ``))
	require.Equal(t, 200, status)
	require.Contains(t, text, `{"decision":true,`, "without a list it is one question")
	status, _, _ = r.post(pathEvaluations, `{"evaluations":[`+strings.Repeat(`{},`, maxEvaluations)+`{}]}`)
	require.Equal(t, 400, status)
}

func TestWhoMayNotAskIsToldSo(t *testing.T) {
	r := run(t, newCluster(), nil).ready()
	body := question("read", "s3", "b", ``)
	for name, header := range map[string]string{"no token": "", "another": "Bearer " + token + "0", "another scheme": "Basic " + token} {
		status, _, head := r.post(pathEvaluation, body, "Authorization", header)
		require.Equal(t, 401, status, name)
		require.Equal(t, "Bearer", head.Get("WWW-Authenticate"))
	}
	status, _, head := r.post(pathEvaluation, body, "X-Request-ID", "bfe9eb29-ab87")
	require.Equal(t, 200, status)
	require.Equal(t, "bfe9eb29-ab87", head.Get("X-Request-ID"))
	require.Equal(t, "application/json", head.Get("Content-Type"))

	res, err := http.Get(r.url + pathConfiguration)
	require.NoError(t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.JSONEq(t, `{"policy_decision_point":"`+r.url+`","access_evaluation_endpoint":"`+r.url+pathEvaluation+`","access_evaluations_endpoint":"`+r.url+pathEvaluations+`"}`, string(b))
}

func TestARequestThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	r := run(t, newCluster(), nil).ready()
	subject := `"subject":{"type":"agent","id":"a"}`
	for body, want := range map[string]string{
		``: "the body: ends too early", `[]`: "the body: invalid at byte 0", `{"a":`: "the body: ends too early",
		strings.Repeat(`{"a":`, 40) + `1`:                                     "the body: deeper than 32",
		`{"action":{"name":"read"}}`:                                          "subject: is missing",
		`{"subject":{"type":"user","id":"a"}}`:                                "subject.type: must be agent",
		`{"subject":{"type":"agent"}}`:                                        "subject.id: is missing",
		`{"subject":{"type":"agent","id":""}}`:                                "subject.id: is empty",
		`{"subject":{"type":"agent","id":7}}`:                                 "subject.id: is no text",
		`{"subject":{"type":"agent","id":"a","id":"b"}}`:                      `subject: "id" stands twice`,
		`{` + subject + `,"resource":{}}`:                                     "action: is missing",
		`{` + subject + `,"action":{"name":"read"}}`:                          "resource: is missing",
		`{` + subject + `,` + subject + `}`:                                   `the body: "subject" stands twice`,
		`{"subject":{"type":"agent","id":"` + "\xff" + `"}}`:                  "subject.id: is not UTF-8",
		question("read", "s3:x", "b", ``):                                     "resource.type: has a colon, a slash or a space in it",
		question("read", "s3", "b", `"agent_id":"other"`):                     "context.agent_id: the agent is subject.id",
		question("read", "s3", "b", `"access":"write"`):                       "action.name: another access was given already",
		question("read", "tool", "b", `"tool":"c"`):                           "resource.id: another tool was given already",
		question("read", "s3", "b", `"tenant_id":"other"`):                    "context: another tenant_id was given already",
		question("read", "s3", "b", `"access":"steal"`):                       "action.name: another access was given already",
		question("x", "s3", "b", `"access":"steal"`):                          "access: has another form than in an event",
		question("read", "s3", "b", `"bytes_sent":"many"`):                    "bytes_sent: has another form than in an event",
		question("read", "s3", "b", `"resources":"x"`):                        "context.resources: is no list",
		question("read", "s3", "b", `"resources":[7]`):                        "resources: has another form than in an event",
		question("read", "s3", "b", `"tool":"`+strings.Repeat("x", 5000)+`"`): "a text or list is over the limits of an event, or not UTF-8",
		`{"subject":{"type":"agent","id":"a/\u0007b"},"action":{"name":"read"},"resource":{"type":"s3","id":"b"}}`: "invalid_identity (agent_id): has a control character",
		`{"evaluations":{}}`:                         "evaluations: is no list",
		`{"options":{"evaluations_semantic":"any"}}`: "options.evaluations_semantic: must be",
	} {
		status, text, _ := r.post(pathEvaluation, body)
		require.Equal(t, 400, status, body)
		require.Contains(t, text, want, body)
	}
	status, _, _ := r.post(pathEvaluation, question("read", "s3", "b", ``), "Content-Type", "text/plain")
	require.Equal(t, 400, status)
	status, _, _ = r.post(pathEvaluation, strings.Repeat(" ", maxBody+1))
	require.Equal(t, 413, status)
	require.Len(t, r.workers, cap(r.workers), "every worker came back")
}

func TestEveryDecisionIsWrittenDownAndNoneWaitsForThat(t *testing.T) {
	c := newCluster()
	c.CreateTopic("agent-decisions", 3)
	r := run(t, c, func(cfg *Config) { cfg.LogTopic = "agent-decisions" }).ready()
	r.post(pathEvaluation, question("send", "email", "a@evil.example", `"tool":"mail.send"`), "X-Request-ID", strings.Repeat("r", 500))
	r.evaluate(question("read", "s3", "b", ``))
	r.stop()
	all := c.All("agent-decisions")
	require.Len(t, all, 2)
	var first struct {
		Time      time.Time       `json:"time"`
		Decision  string          `json:"decision"`
		API       string          `json:"api"`
		RequestID string          `json:"request_id"`
		Policies  []string        `json:"policies"`
		Event     json.RawMessage `json:"event"`
	}
	require.NoError(t, json.Unmarshal(all[0].Value, &first))
	require.Equal(t, "acme/crm-1", string(all[0].Key))
	require.Equal(t, "deny", first.Decision)
	require.Equal(t, "authzen", first.API)
	require.Len(t, first.RequestID, maxIDLogged)
	require.Contains(t, string(first.Event), `"resources":["email:a@evil.example"]`)
	require.InDelta(t, 0, testutil.ToFloat64(r.metrics.dropped.WithLabelValues()), 0)

	// Where nobody takes them, they are dropped and counted, and answers come all the same.
	d := newRole(t, c, func(cfg *Config) { cfg.LogTopic = "agent-decisions" })
	for range maxWaiting + 3 {
		d.log.add(&answer{}, "authzen", "")
	}
	require.InDelta(t, 3, testutil.ToFloat64(d.metrics.dropped.WithLabelValues()), 0)
}

func TestEnvoyIsAnsweredByStatus(t *testing.T) {
	d := newRole(t, newCluster(), nil)
	known := ""
	d.problem.Store(&known)
	ask := func(method, target string, head ...string) (int, string) {
		req := httptest.NewRequest(method, target, nil)
		req.Host = "api.example.com"
		req.Header.Set("Authorization", "Bearer "+token)
		for i := 0; i < len(head); i += 2 {
			req.Header.Add(head[i], head[i+1])
		}
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	status, _ := ask("GET", "/envoy/v1/../x?key=secret", "X-Plumbline-Agent", "crm-1")
	require.Equal(t, 200, status)
	status, body := ask("POST", "/envoy/v1/x", "X-Plumbline-Agent", "crm-1")
	require.Equal(t, 403, status)
	require.Equal(t, "denied\n", body, "what is known of the agent is not for the agent")
	status, _ = ask("GET", "/envoy/v1/x")
	require.Equal(t, 403, status)
	status, _ = ask("GET", "/envoy/v1/x", "X-Plumbline-Agent", "crm-1", "X-Plumbline-Agent", "root")
	require.Equal(t, 403, status)
	status, _ = ask("GET", "/envoy/v1/x", "X-Plumbline-Agent", "crm-1", "X-Plumbline-Access", "write")
	require.Equal(t, 403, status)

	req := httptest.NewRequest("POST", "/envoy/a%2Fb/c?key=secret", nil)
	req.Host = "mail.example.com"
	req.Header.Set("X-Plumbline-Agent", "crm-1")
	req.Header.Set("X-Plumbline-Tenant", "acme")
	event, err := envoyEvent(req)
	require.NoError(t, err)
	require.JSONEq(t, `{"tenant_id":"acme","agent_id":"crm-1","access":"send","resources":["url:https://mail.example.com/a%2Fb/c"]}`, string(event))
}

func TestAPanicOfTheEngineIsAnErrorAndNotTheEnd(t *testing.T) {
	d := newRole(t, newCluster(), nil)
	known := ""
	d.problem.Store(&known)
	for range cap(d.workers) {
		w := <-d.workers
		w.engine = nil
		d.workers <- w
	}
	for range cap(d.workers) {
		a, err := d.ask(t.Context(), []byte(`{"agent_id":"a"}`))
		require.NoError(t, err)
		require.Equal(t, resultErrorDeny, a.result())
	}
	a, err := d.ask(t.Context(), []byte(`{"agent_id":"a","access":"read"}`))
	require.NoError(t, err)
	require.Equal(t, resultPermit, a.result())
}

func TestWhatIsFullRefusesAndSaysSo(t *testing.T) {
	r := newRegistry()
	r.bytes = maxRegistrationBytes
	require.False(t, r.register(&schemas.Registration{TenantID: "t", AgentID: "a"}))
	_, _, problem := r.of("t", "a", time.Time{})
	require.Equal(t, "the registry is full, and does not know the agent", problem)
	for i := range maxAtRisk + 1 {
		var a alert
		a.EpisodeID, a.Status, a.Kind, a.TenantID, a.Agent.ID, a.Episode.Severity = "e", "open", schemas.KindBehavior, "t", fmt.Sprint(i), "low"
		require.Equal(t, i < maxAtRisk, r.heard(&a, time.Unix(1, 0)))
	}
	r.full = false
	_, _, problem = r.of("t", "b", time.Time{})
	require.Equal(t, "more agents are at risk than fit into memory", problem)
	_, risk, problem := r.of("t", "7", time.Time{})
	require.Equal(t, "low", risk)
	require.Empty(t, problem)
	r.forget(time.Unix(2, 0))
	_, _, problem = r.of("t", "b", time.Time{})
	require.Empty(t, problem)
}

func FuzzAuthZEN(f *testing.F) {
	f.Add([]byte(question("send", "email", "a@example.com", `"tool":"mail.send","resources":["url:https://x.example"]`)))
	f.Add([]byte(`{"subject":{"type":"agent","id":"a"},"evaluations":[{"action":{"name":"read"},"resource":{"type":"tool","id":"x"}}],"options":{}}`))
	d := newRole(f, newCluster(), nil)
	known := ""
	d.problem.Store(&known)
	h := d.Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{pathEvaluation, pathEvaluations} {
			req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if w.Code == http.StatusOK {
				require.True(t, json.Valid(w.Body.Bytes()), w.Body.String())
			}
			require.Len(t, d.workers, cap(d.workers))
		}
	})
}
