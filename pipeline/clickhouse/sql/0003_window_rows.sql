-- One row per agent and window. Query the view `windows`.
--
-- Identity is (tenant_id, agent_id, start, seconds). The partition is the UTC day
-- of `start` in the cycle of activity_rows, which is part of the identity: a window
-- that is published again has another `recorded_at`, perhaps of another day, and
-- doubles are found within a partition only. `start` is close to `recorded_at`
-- except where a history is loaded, so parts still expire as a whole.
--
-- `version` prefers the record that came last.
CREATE TABLE IF NOT EXISTS {{database}}.window_rows
(
    tenant_id        LowCardinality(String),
    agent_id         LowCardinality(String),
    peer_group       LowCardinality(String),
    start            DateTime64(3, 'UTC')            CODEC(Delta, ZSTD(1)),
    seconds          Int64                           CODEC(T64, ZSTD(1)),

    events           UInt64                          CODEC(T64, ZSTD(1)),
    late             UInt64                          CODEC(T64, ZSTD(1)),
    failures         UInt64                          CODEC(T64, ZSTD(1)),
    denied           UInt64                          CODEC(T64, ZSTD(1)),
    bytes_sent       UInt64                          CODEC(T64, ZSTD(1)),
    bytes_received   UInt64                          CODEC(T64, ZSTD(1)),
    tools            UInt64                          CODEC(T64, ZSTD(1)),
    resources        UInt64                          CODEC(T64, ZSTD(1)),
    new_resources    UInt64                          CODEC(T64, ZSTD(1)),
    new_destinations UInt64                          CODEC(T64, ZSTD(1)),
    sessions         UInt64                          CODEC(T64, ZSTD(1)),

    signals          Map(LowCardinality(String), Tuple(observed Float64, expected Float64, low Float64, high Float64, p Float64)) CODEC(ZSTD(1)),
    score            Float64                         CODEC(ZSTD(1)),
    baseline_samples Float64                         CODEC(ZSTD(1)),
    config_hash      LowCardinality(String),

    recorded_at      DateTime64(3, 'UTC')            CODEC(Delta, ZSTD(1)),
    version          UInt64                          CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMMDD(start, 'UTC') % 40000
ORDER BY (tenant_id, agent_id, start, seconds)
TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay({{retention_days}} + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC')
SETTINGS materialize_ttl_recalculate_only = 1;
