-- One row per registration: what was said about an agent, and when. Query the views
-- `registrations` (all of them) and `agents` (what counts now).
--
-- Identity is the origin, as with events. There is no TTL: an agent stays registered
-- however long ago that was said, and they are few.
--
-- An empty list and none at all mean different things for credentials and grants: the
-- lists are here to be searched, and `registration` is the whole as canonical JSON.
CREATE TABLE IF NOT EXISTS {{database}}.registration_rows
(
    tenant_id          LowCardinality(String),
    agent_id           String                   CODEC(ZSTD(1)),
    time               DateTime64(3, 'UTC')     CODEC(Delta, ZSTD(1)),
    status             LowCardinality(String),
    name               String                   CODEC(ZSTD(1)),
    owner              String                   CODEC(ZSTD(1)),
    contact            String                   CODEC(ZSTD(1)),
    purpose            String                   CODEC(ZSTD(1)),
    environment        LowCardinality(String),
    vendor             LowCardinality(String),
    criticality        LowCardinality(String),
    peer_group         LowCardinality(String),
    time_zone          LowCardinality(String),
    valid_until        Nullable(DateTime64(3, 'UTC')),
    versions           Array(String)            CODEC(ZSTD(1)),
    credential_ids     Array(String)            CODEC(ZSTD(1)),
    tools              Array(String)            CODEC(ZSTD(1)),
    destinations       Array(String)            CODEC(ZSTD(1)),
    agents             Array(String)            CODEC(ZSTD(1)),
    labels             Map(LowCardinality(String), String),
    registration       String                   CODEC(ZSTD(3)),
    recorded_at        DateTime64(3, 'UTC')     CODEC(Delta, ZSTD(1)),
    origin_source      LowCardinality(String),
    origin_incarnation UInt32                   CODEC(ZSTD(1)),
    origin_topic       LowCardinality(String),
    origin_partition   Int32                    CODEC(ZSTD(1)),
    origin_offset      Int64                    CODEC(Delta, ZSTD(1)),
    origin_index       Int32                    CODEC(ZSTD(1)),
    log_partition      Int32                    CODEC(ZSTD(1)),
    log_offset         Int64                    CODEC(Delta, ZSTD(1)),
    log_time           DateTime64(3, 'UTC')     CODEC(Delta, ZSTD(1)),
    version            UInt64                   CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PRIMARY KEY (tenant_id, agent_id)
ORDER BY (tenant_id, agent_id, time, origin_source, origin_incarnation, origin_topic, origin_partition, origin_offset, origin_index);

ALTER TABLE {{database}}.alert_rows
    ADD COLUMN IF NOT EXISTS agent_contact     String DEFAULT '' CODEC(ZSTD(1)) AFTER agent_owner,
    ADD COLUMN IF NOT EXISTS agent_criticality LowCardinality(String) DEFAULT '' AFTER agent_contact;
