-- Schema version 6 for database `sec\`ops`, retention 30 days.

-- ---- create database

CREATE DATABASE IF NOT EXISTS `sec\`ops`;

-- ---- schema_migrations

-- What was applied, by whom it was applied last. A version stands here more than
-- once when two programs migrated at the same time; that does no harm.
-- version 0 is the repeatable part (views and retention).
CREATE TABLE IF NOT EXISTS `sec\`ops`.schema_migrations
(
    version    UInt32,
    name       String,
    checksum   String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (version, applied_at);

-- ---- 0001 activity rows

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
CREATE TABLE IF NOT EXISTS `sec\`ops`.activity_rows
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
TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay(30 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC')
SETTINGS materialize_ttl_recalculate_only = 1;

-- ---- 0002 alert rows

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
CREATE TABLE IF NOT EXISTS `sec\`ops`.alert_rows
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
TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay(30 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC')
SETTINGS materialize_ttl_recalculate_only = 1;

-- ---- 0003 window rows

-- One row per agent and window. Query the view `windows`.
--
-- Identity is (tenant_id, agent_id, start, seconds). The partition is the UTC day
-- of `start` in the cycle of activity_rows, which is part of the identity: a window
-- that is published again has another `recorded_at`, perhaps of another day, and
-- doubles are found within a partition only. `start` is close to `recorded_at`
-- except where a history is loaded, so parts still expire as a whole.
--
-- `version` prefers the record that came last.
CREATE TABLE IF NOT EXISTS `sec\`ops`.window_rows
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
TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay(30 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC')
SETTINGS materialize_ttl_recalculate_only = 1;

-- ---- 0004 lookups

-- What an analyst looks up across agents, and what makes the views cheap.
--
-- `time` is in the key behind the agent, where it leaves no day out; its least and
-- greatest value do. The others are bloom filters: a granule holds some agents, and
-- each of them few credentials, addresses, principals and tools.
--
-- An index is there for new parts, and for old ones once they are merged:
-- MATERIALIZE INDEX, which reads the column again, is left to the operator.
ALTER TABLE `sec\`ops`.activity_rows
    ADD INDEX IF NOT EXISTS time            time            TYPE minmax             GRANULARITY 1,
    ADD INDEX IF NOT EXISTS on_behalf_of    on_behalf_of    TYPE bloom_filter(0.01) GRANULARITY 4,
    ADD INDEX IF NOT EXISTS tool            tool            TYPE bloom_filter(0.01) GRANULARITY 4,
    ADD INDEX IF NOT EXISTS target_agent_id target_agent_id TYPE bloom_filter(0.01) GRANULARITY 4,
    ADD INDEX IF NOT EXISTS credential_id   credential_id   TYPE bloom_filter(0.01) GRANULARITY 4,
    ADD INDEX IF NOT EXISTS source_ip       source_ip       TYPE bloom_filter(0.01) GRANULARITY 4;

-- FINAL has nothing to do in a partition that is one merged part. Merges by size
-- leave a handful of parts for good, and every query then merges all rows of the day
-- anew. So a day that has been quiet for an hour is merged into one part, once; where
-- rows come late, once more.
ALTER TABLE `sec\`ops`.activity_rows
    MODIFY SETTING min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;
ALTER TABLE `sec\`ops`.window_rows
    MODIFY SETTING min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;

-- ---- 0005 log

-- Where a row's record stands in plumbline.activity, and when it was appended there:
-- what the detector saw, in the order in which it saw it. Of an alert it is the place of
-- the event at which it was raised. -1 in rows from before: their order is not known.
--
-- Route may write an event twice; `version` prefers the copy that came first, which is the
-- one that the detector counted.
ALTER TABLE `sec\`ops`.activity_rows
    ADD COLUMN IF NOT EXISTS log_partition Int32 DEFAULT -1 CODEC(ZSTD(1)) AFTER origin_index,
    ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1 CODEC(Delta, ZSTD(1)) AFTER log_partition,
    ADD COLUMN IF NOT EXISTS log_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) AFTER log_offset,
    ADD INDEX IF NOT EXISTS log_offset log_offset TYPE minmax GRANULARITY 1;
ALTER TABLE `sec\`ops`.alert_rows
    ADD COLUMN IF NOT EXISTS log_partition Int32 DEFAULT -1 CODEC(ZSTD(1)) AFTER recorded_at,
    ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1 CODEC(ZSTD(1)) AFTER log_partition;

-- ---- 0006 registration rows

-- One row per registration: what was said about an agent, and when. Query the views
-- `registrations` (all of them) and `agents` (what counts now).
--
-- Identity is the origin, as with events. There is no TTL: an agent stays registered
-- however long ago that was said, and they are few.
--
-- An empty list and none at all mean different things for credentials and grants: the
-- lists are here to be searched, and `registration` is the whole as canonical JSON.
CREATE TABLE IF NOT EXISTS `sec\`ops`.registration_rows
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

ALTER TABLE `sec\`ops`.alert_rows
    ADD COLUMN IF NOT EXISTS agent_contact     String DEFAULT '' CODEC(ZSTD(1)) AFTER agent_owner,
    ADD COLUMN IF NOT EXISTS agent_criticality LowCardinality(String) DEFAULT '' AFTER agent_contact;

-- ---- views and retention

-- Applied whenever its text, filled in, is not what was applied last: this is how
-- another retention_days reaches the tables and the views.
--
-- FINAL shows each identity once, merged or not. Merging per partition is enough
-- since equal identities share their partition. The filter on recorded_at hides a
-- row that was stored again after its part had expired.
--
-- Exact mode would read, for every granule that an index leaves, all granules of
-- all days that hold the same agents: everything. Copies of a row are equal in every
-- indexed column, so that an index leaves all of them or none. Two decodings of one
-- record (another `version`) may differ, and so do the places of an event that route wrote
-- twice (log_offset); ADR 0005 says what is seen of them.
ALTER TABLE `sec\`ops`.activity_rows
    MODIFY TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay(30 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC');

ALTER TABLE `sec\`ops`.alert_rows
    MODIFY TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay(30 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC');

ALTER TABLE `sec\`ops`.window_rows
    MODIFY TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay(30 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC');

CREATE OR REPLACE VIEW `sec\`ops`.activity AS
SELECT
    event_id, time, tenant_id, agent_id, agent_name, agent_version, peer_group,
    session_id, on_behalf_of, action, tool, access, resources, resource_count,
    target_agent_id, bytes_sent, bytes_received, tokens_in, tokens_out, outcome,
    duration_ms, model, credential_id, credential_type, credential_expires,
    source_ip, attributes, recorded_at, flags, origin_source, origin_incarnation,
    origin_topic, origin_partition, origin_offset, origin_index,
    log_partition, log_offset, log_time
FROM `sec\`ops`.activity_rows FINAL
WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay(30)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0;

CREATE OR REPLACE VIEW `sec\`ops`.alerts AS
SELECT
    alert_id, episode_id, status, kind, tenant_id, agent_id, agent_name,
    agent_version, peer_group, agent_owner, agent_contact, agent_criticality, session_id, on_behalf_of, time,
    first_seen, last_seen, severity, score, expected_per_agent_day, confidence,
    title, summary, `signals.name`, `signals.observed`, `signals.expected`,
    `signals.low`, `signals.high`, `signals.unit`, `signals.p`,
    `signals.window_start`, `signals.window_seconds`, `signals.baseline_samples`,
    `signals.first_seen`, evidence_event_ids, evidence_resources, evidence_tools,
    event_count, tags_owasp_asi, tags_atlas, tags_attack, counterfactual, query,
    runbook, suppressed, detector_version, config_hash, recorded_at,
    log_partition, log_offset, alert
FROM `sec\`ops`.alert_rows FINAL
WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay(30)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW `sec\`ops`.windows AS
SELECT
    tenant_id, agent_id, peer_group, start, seconds, events, late, failures,
    denied, bytes_sent, bytes_received, tools, resources, new_resources,
    new_destinations, sessions, signals, score, baseline_samples, config_hash,
    recorded_at
FROM `sec\`ops`.window_rows FINAL
WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay(30)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW `sec\`ops`.registrations AS
SELECT
    tenant_id, agent_id, time, status, name, owner, contact, purpose, environment,
    vendor, criticality, peer_group, time_zone, valid_until, versions,
    credential_ids, tools, destinations, agents, labels, registration, recorded_at,
    origin_source, origin_incarnation, origin_topic, origin_partition,
    origin_offset, origin_index, log_partition, log_offset, log_time
FROM `sec\`ops`.registration_rows FINAL;

-- Every agent that is registered or has acted: the registration that counts, which is that
-- of the latest time; when it acted first and last, from the hours that are over and the
-- events of the last day, whose credentials are named (at most 32); its open episodes. All
-- events would be as much to read as there is.
CREATE OR REPLACE VIEW `sec\`ops`.agents AS
SELECT
    tenant_id, agent_id,
    CAST(max(is_registration), 'Bool') AS registered,
    if(max(is_registration) = 0, '',
        if(argMaxIf(tuple(valid_until), (time, log_offset), is_registration).1 <= now64(3, 'UTC'), 'decommissioned',
            if(argMaxIf(status, (time, log_offset), is_registration) = '', 'active', argMaxIf(status, (time, log_offset), is_registration)))) AS status,
    argMaxIf(name, (time, log_offset), is_registration) AS name,
    argMaxIf(owner, (time, log_offset), is_registration) AS owner,
    argMaxIf(contact, (time, log_offset), is_registration) AS contact,
    argMaxIf(purpose, (time, log_offset), is_registration) AS purpose,
    argMaxIf(environment, (time, log_offset), is_registration) AS environment,
    argMaxIf(vendor, (time, log_offset), is_registration) AS vendor,
    argMaxIf(criticality, (time, log_offset), is_registration) AS criticality,
    argMaxIf(registration, (time, log_offset), is_registration) AS registration,
    maxOrNullIf(time, is_registration) AS registered_at,
    minOrNullIf(first_time, events > 0) AS first_activity,
    maxOrNullIf(time, events > 0) AS last_activity,
    arraySort(groupUniqArrayArray(32)(used)) AS credentials_used,
    toUInt64(greatest(sum(episodes), 0)) AS open_episodes
FROM
(
    SELECT
        tenant_id, agent_id, true AS is_registration, time, log_offset, status, name, owner, contact, purpose,
        environment, vendor, criticality, valid_until, registration,
        time AS first_time, toUInt64(0) AS events, emptyArrayString() AS used, toInt64(0) AS episodes
    FROM `sec\`ops`.registration_rows
    UNION ALL
    SELECT
        tenant_id, agent_id, false, max(activity_rows.time), -1, '', '', '', '', '', '', '', '', NULL, '',
        min(activity_rows.time), count(), groupUniqArrayIf(32)(credential_id, credential_id != ''), 0
    FROM `sec\`ops`.activity_rows
    WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay(1)
    GROUP BY tenant_id, agent_id
    UNION ALL
    SELECT
        tenant_id, agent_id, false, max(start), -1, '', '', '', '', '', '', '', '', NULL, '',
        min(start), sum(window_rows.events), emptyArrayString(), 0
    FROM `sec\`ops`.window_rows
    WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay(30) AND window_rows.events > 0
    GROUP BY tenant_id, agent_id
    UNION ALL
    SELECT
        tenant_id, agent_id, false, max(alert_rows.time), -1, '', '', '', '', '', '', '', '', NULL, '',
        min(alert_rows.time), 0, emptyArrayString(),
        toInt64(uniqExactIf(episode_id, alert_rows.status = 'open')) - toInt64(uniqExactIf(episode_id, alert_rows.status = 'close'))
    FROM `sec\`ops`.alert_rows
    WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay(30)
    GROUP BY tenant_id, agent_id
)
GROUP BY tenant_id, agent_id;

-- One machine without replicas: a row counts as stored when the disk has it.
ALTER TABLE `sec\`ops`.activity_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
ALTER TABLE `sec\`ops`.registration_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
ALTER TABLE `sec\`ops`.alert_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
ALTER TABLE `sec\`ops`.window_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
