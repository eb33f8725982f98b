-- One row per event. Query the view `activity`, not this table: until a merge,
-- an event that was stored twice stands here twice.
--
-- Identity is the origin: where the event stood in its source. An agent chooses
-- its event_id, so an event_id that is used twice makes two rows and can't
-- overwrite evidence.
--
-- ReplacingMergeTree finds doubles only within one partition and one ORDER BY
-- key. Both are functions of the source record alone: `recorded_at` is its Kafka
-- timestamp, and `time` was resolved from it once, by route. `version` decides
-- between two decodings of one record: the newer decoder wins, whoever comes last.
--
-- The partition is the UTC day of `recorded_at` within a cycle of four years
-- (20261124 % 40000 = 21124), so that retention drops whole parts. It is folded
-- because a topic may carry the timestamps of its producers: without the cycle,
-- one batch with a timestamp in every day of three centuries would make 100,000
-- partitions, and the server would refuse every insert after it.
--
-- Rows expire at the end of a day, all those of a part together, so that nothing
-- is rewritten to drop the rows of an hour; the views hide to the millisecond. Not
-- ttl_only_drop_parts: a row from the far future would keep the rows of its part.
-- The bound of 2106 is that of the type DateTime.
CREATE TABLE IF NOT EXISTS {{database}}.activity_rows
(
    tenant_id          LowCardinality(String),
    agent_id           LowCardinality(String),
    time               DateTime64(3, 'UTC')          CODEC(Delta, ZSTD(1)),
    event_id           String                        CODEC(ZSTD(1)),

    agent_name         LowCardinality(String),
    agent_version      LowCardinality(String),
    peer_group         LowCardinality(String),
    session_id         String                        CODEC(ZSTD(1)),
    on_behalf_of       String                        CODEC(ZSTD(1)),

    action             LowCardinality(String),
    tool               LowCardinality(String),
    access             LowCardinality(String),
    resources          Array(String)                 CODEC(ZSTD(1)),
    resource_count     UInt32                        CODEC(T64, ZSTD(1)),
    target_agent_id    LowCardinality(String),

    bytes_sent         UInt64                        CODEC(T64, ZSTD(1)),
    bytes_received     UInt64                        CODEC(T64, ZSTD(1)),
    tokens_in          UInt64                        CODEC(T64, ZSTD(1)),
    tokens_out         UInt64                        CODEC(T64, ZSTD(1)),
    outcome            LowCardinality(String),
    duration_ms        UInt64                        CODEC(T64, ZSTD(1)),
    model              LowCardinality(String),

    credential_id      String                        CODEC(ZSTD(1)),
    credential_type    LowCardinality(String),
    credential_expires Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    source_ip          String                        CODEC(ZSTD(1)),
    attributes         Map(LowCardinality(String), String) CODEC(ZSTD(1)),

    recorded_at        DateTime64(3, 'UTC')          CODEC(Delta, ZSTD(1)),
    flags              Array(LowCardinality(String)),

    origin_source      LowCardinality(String),
    origin_incarnation UInt32                        CODEC(T64, ZSTD(1)),
    origin_topic       LowCardinality(String),
    origin_partition   Int32                         CODEC(T64, ZSTD(1)),
    origin_offset      Int64                         CODEC(Delta, ZSTD(1)),
    origin_index       Int32                         CODEC(T64, ZSTD(1)),
    version            UInt64                        CODEC(ZSTD(1)),

    INDEX event_id   event_id   TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX session_id session_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX resources  resources  TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMMDD(recorded_at, 'UTC') % 40000
PRIMARY KEY (tenant_id, agent_id, time)
ORDER BY (tenant_id, agent_id, time, origin_source, origin_incarnation, origin_topic, origin_partition, origin_offset, origin_index)
TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay({{retention_days}} + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC')
SETTINGS materialize_ttl_recalculate_only = 1;
