package decide

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// Bounds of what is known. Beyond them what is new is refused, and agents that are not known
// can't be decided on.
const (
	maxRegistrations     = 1_000_000
	maxRegistrationBytes = 512 << 20 // of all, as canonical JSON
	maxAtRisk            = 200_000   // agents with an open episode
	maxEpisodes          = 16        // of one agent; the one that was heard of least lately gives way
)

// registry is what is known of agents: the newest registration of each, and its open episodes.
type registry struct {
	mu      sync.RWMutex
	agents  map[string]*registered // by the key of its records
	bytes   int64
	full    bool // a registration was refused
	risks   map[string][]episode
	crowded bool // an episode was refused
}

type registered struct {
	*schemas.Registration
	size int64
}

// episode is an open one of kind behavior.
type episode struct {
	id       string
	severity int       // index of severities
	heard    time.Time // when its last alert was written, by the broker's clock
}

// severities are what a risk may be, mildest first.
var severities = []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

func newRegistry() *registry {
	return &registry{agents: make(map[string]*registered), risks: make(map[string][]episode)}
}

// register takes a registration, as detect does: of an agent the newest counts, and of two
// of one time the later one. It reports false where there is no room.
func (r *registry) register(reg *schemas.Registration) bool {
	key := string(schemas.AppendKey(nil, reg.TenantID, reg.AgentID))
	size := int64(len(schemas.AppendRegistration(nil, reg)))
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.agents[key]
	if before == nil {
		if len(r.agents) >= maxRegistrations || r.bytes+size > maxRegistrationBytes {
			r.full = true
			return false
		}
		r.agents[key] = &registered{reg, size}
		r.bytes += size
		return true
	}
	if reg.Time >= before.Time {
		r.bytes += size - before.size
		before.Registration, before.size = reg, size
	}
	return true
}

// alert is what is read of an alert.
type alert struct {
	EpisodeID string `json:"episode_id"`
	Status    string `json:"status"`
	Kind      string `json:"kind"`
	TenantID  string `json:"tenant_id"`
	Agent     struct {
		ID string `json:"id"`
	} `json:"agent"`
	Episode struct {
		Severity string `json:"severity"`
	} `json:"episode"`
}

// heard takes an alert that was written at a time. It reports false where there is no room.
func (r *registry) heard(a *alert, at time.Time) bool {
	severity := slices.Index(severities, a.Episode.Severity)
	if a.Kind != schemas.KindBehavior || severity < 0 || a.EpisodeID == "" {
		return true
	}
	key := string(schemas.AppendKey(nil, a.TenantID, a.Agent.ID))
	r.mu.Lock()
	defer r.mu.Unlock()
	list, known := r.risks[key]
	i := slices.IndexFunc(list, func(e episode) bool { return e.id == a.EpisodeID })
	switch {
	case a.Status == schemas.StatusClose:
		if i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		if len(list) == 0 {
			delete(r.risks, key)
		} else {
			r.risks[key] = list
		}
	case i >= 0:
		list[i].severity, list[i].heard = severity, at
	case !known && len(r.risks) >= maxAtRisk:
		r.crowded = true
		return false
	default:
		if len(list) == maxEpisodes {
			list = slices.Delete(list, 0, 1)
		}
		r.risks[key] = append(list, episode{id: a.EpisodeID, severity: severity, heard: at})
	}
	return true
}

// forget takes the episodes away of which nothing was heard since a time.
func (r *registry) forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, list := range r.risks {
		list = slices.DeleteFunc(list, func(e episode) bool { return e.heard.Before(before) })
		if r.risks[key] = list; len(list) == 0 {
			delete(r.risks, key)
		}
	}
	if len(r.risks) < maxAtRisk/2 {
		r.crowded = false
	}
}

// sizes are how many agents are registered and at risk.
func (r *registry) sizes() (agents, risks int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.agents), len(r.risks)
}

// of returns what is registered of an agent, nil where nothing is, and the severity of its
// open episode, "" where it has none. problem says why that can't be told.
func (r *registry) of(tenant, agent string, since time.Time) (reg *schemas.Registration, risk, problem string) {
	var buf [256]byte
	key := schemas.AppendKey(buf[:0], tenant, agent)
	r.mu.RLock()
	defer r.mu.RUnlock()
	if known := r.agents[string(key)]; known != nil {
		reg = known.Registration
	} else if r.full {
		return nil, "", "the registry is full, and does not know the agent"
	}
	worst := -1
	for _, e := range r.risks[string(key)] {
		if !e.heard.Before(since) {
			worst = max(worst, e.severity)
		}
	}
	switch {
	case worst >= 0:
		risk = severities[worst]
	case r.crowded:
		return nil, "", "more agents are at risk than fit into memory"
	}
	return reg, risk, ""
}

// Source is a topic of registrations.
type Source struct {
	Topic      string
	NewDecoder func() (decode.Decoder, error)
}

// registrations returns what takes the records of a partition of a source.
func (d *Decide) registrations(s Source) (take, error) {
	decoder, err := s.NewDecoder()
	if err != nil {
		return nil, err
	}
	return func(tp pipeline.TopicPartition, rec *pipeline.Record) {
		in := decode.Record{Topic: tp.Topic, Partition: tp.Partition, Offset: rec.Offset, Time: rec.Time, Key: rec.Key, Value: rec.Value}
		for _, h := range rec.Headers {
			in.Headers = append(in.Headers, decode.Header{Key: h.Key, Value: h.Value})
		}
		decoder.Decode(&in, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
			switch {
			case refusal != nil || ev.Registration == nil:
				d.metrics.refused.WithLabelValues("registration").Inc() // a dead letter of route says why
			case !d.registry.register(ev.Registration):
				d.metrics.refused.WithLabelValues("registration_no_room").Inc()
			}
		})
	}, nil
}

// alerts takes the records of plumbline.alerts.
func (d *Decide) alerts(_ pipeline.TopicPartition, rec *pipeline.Record) {
	at := time.UnixMilli(int64(rec.Time))
	if at.Before(time.Now().Add(-d.cfg.RiskFor)) {
		return // it says nothing any more; most of the topic is such
	}
	var a alert
	if err := json.Unmarshal(rec.Value, &a); err != nil {
		d.metrics.refused.WithLabelValues("alert").Inc()
		return
	}
	if !d.registry.heard(&a, at) {
		d.metrics.refused.WithLabelValues("alert_no_room").Inc()
	}
}
