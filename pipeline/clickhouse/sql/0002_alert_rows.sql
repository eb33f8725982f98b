-- One row per alert. Query the view `alerts`.
--
-- Identity is `alert_id`, and nothing else: it is a hash that covers tenant and
-- agent, so the two before it in ORDER BY only keep an agent's alerts together.
-- `time` is not part of the key, so that no disagreement about it makes two rows.
--
-- There is no PARTITION BY. An alert that is published again after a crash has
-- another `recorded_at`, perhaps of another day, and doubles are found within a
-- partition only; `time` comes from the agents, and a partition by it could be
-- scattered over centuries. Alerts are few (a budget bounds them), so one
-- partition holds them all and retention may rewrite parts.
--
-- `version` prefers the record that came first: when an alert was first recorded
-- is what stays, in whatever order copies are stored.
CREATE TABLE IF NOT EXISTS {{database}}.alert_rows
(
    alert_id               String                        CODEC(ZSTD(1)),
    episode_id             String                        CODEC(ZSTD(1)),
    status                 LowCardinality(String),
    kind                   LowCardinality(String),
    tenant_id              LowCardinality(String),
    agent_id               LowCardinality(String),
    agent_name             LowCardinality(String),
    agent_version          LowCardinality(String),
    peer_group             LowCardinality(String),
    agent_owner            LowCardinality(String),
    session_id             String                        CODEC(ZSTD(1)),
    on_behalf_of           String                        CODEC(ZSTD(1)),

    time                   DateTime64(3, 'UTC')          CODEC(Delta, ZSTD(1)),
    first_seen             DateTime64(3, 'UTC')          CODEC(Delta, ZSTD(1)),
    last_seen              DateTime64(3, 'UTC')          CODEC(Delta, ZSTD(1)),

    severity               LowCardinality(String),
    score                  Float64,
    expected_per_agent_day Float64,
    confidence             Float64,
    title                  LowCardinality(String),
    summary                String                        CODEC(ZSTD(3)),

    `signals.name`             Array(LowCardinality(String)),
    `signals.observed`         Array(Float64),
    `signals.expected`         Array(Float64),
    `signals.low`              Array(Float64),
    `signals.high`             Array(Float64),
    `signals.unit`             Array(LowCardinality(String)),
    `signals.p`                Array(Float64),
    `signals.window_start`     Array(DateTime64(3, 'UTC')),
    `signals.window_seconds`   Array(Int64),
    `signals.baseline_samples` Array(Float64),
    `signals.first_seen`       Array(Array(String)),

    evidence_event_ids     Array(String)                 CODEC(ZSTD(3)),
    evidence_resources     Array(String)                 CODEC(ZSTD(3)),
    evidence_tools         Array(LowCardinality(String)),
    event_count            Int64                         CODEC(T64, ZSTD(1)),

    tags_owasp_asi         Array(LowCardinality(String)),
    tags_atlas             Array(LowCardinality(String)),
    tags_attack            Array(LowCardinality(String)),

    counterfactual         String                        CODEC(ZSTD(3)),
    query                  String                        CODEC(ZSTD(3)),
    runbook                LowCardinality(String),
    suppressed             Int64                         CODEC(T64, ZSTD(1)),
    detector_version       LowCardinality(String),
    config_hash            LowCardinality(String),

    recorded_at            DateTime64(3, 'UTC')          CODEC(Delta, ZSTD(1)),
    alert                  String                        CODEC(ZSTD(3)),
    version                UInt64                        CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PRIMARY KEY (tenant_id, agent_id)
ORDER BY (tenant_id, agent_id, alert_id)
TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay({{retention_days}} + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC')
SETTINGS materialize_ttl_recalculate_only = 1;
