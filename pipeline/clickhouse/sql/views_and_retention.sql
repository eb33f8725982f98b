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
ALTER TABLE {{database}}.activity_rows
    MODIFY TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay({{retention_days}} + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC');

ALTER TABLE {{database}}.alert_rows
    MODIFY TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay({{retention_days}} + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC');

ALTER TABLE {{database}}.window_rows
    MODIFY TTL toStartOfDay(toDateTime(least(recorded_at + toIntervalDay({{retention_days}} + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC');

CREATE OR REPLACE VIEW {{database}}.activity AS
SELECT
    event_id, time, tenant_id, agent_id, agent_name, agent_version, peer_group,
    session_id, on_behalf_of, action, tool, access, resources, resource_count,
    target_agent_id, bytes_sent, bytes_received, tokens_in, tokens_out, outcome,
    duration_ms, model, credential_id, credential_type, credential_expires,
    source_ip, attributes, recorded_at, flags, origin_source, origin_incarnation,
    origin_topic, origin_partition, origin_offset, origin_index,
    log_partition, log_offset, log_time
FROM {{database}}.activity_rows FINAL
WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay({{retention_days}})
SETTINGS do_not_merge_across_partitions_select_final = 1,
    use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0;

CREATE OR REPLACE VIEW {{database}}.alerts AS
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
FROM {{database}}.alert_rows FINAL
WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay({{retention_days}})
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW {{database}}.windows AS
SELECT
    tenant_id, agent_id, peer_group, start, seconds, events, late, failures,
    denied, bytes_sent, bytes_received, tools, resources, new_resources,
    new_destinations, sessions, signals, score, baseline_samples, config_hash,
    recorded_at
FROM {{database}}.window_rows FINAL
WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay({{retention_days}})
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW {{database}}.registrations AS
SELECT
    tenant_id, agent_id, time, status, name, owner, contact, purpose, environment,
    vendor, criticality, peer_group, time_zone, valid_until, versions,
    credential_ids, tools, destinations, agents, labels, registration, recorded_at,
    origin_source, origin_incarnation, origin_topic, origin_partition,
    origin_offset, origin_index, log_partition, log_offset, log_time
FROM {{database}}.registration_rows FINAL;

-- Every agent that is registered or has acted: the registration that counts, which is that
-- of the latest time; when it acted first and last, from the hours that are over and the
-- events of the last day, whose credentials are named (at most 32); its open episodes. All
-- events would be as much to read as there is.
CREATE OR REPLACE VIEW {{database}}.agents AS
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
    FROM {{database}}.registration_rows
    UNION ALL
    SELECT
        tenant_id, agent_id, false, max(activity_rows.time), -1, '', '', '', '', '', '', '', '', NULL, '',
        min(activity_rows.time), count(), groupUniqArrayIf(32)(credential_id, credential_id != ''), 0
    FROM {{database}}.activity_rows
    WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay(1)
    GROUP BY tenant_id, agent_id
    UNION ALL
    SELECT
        tenant_id, agent_id, false, max(start), -1, '', '', '', '', '', '', '', '', NULL, '',
        min(start), sum(window_rows.events), emptyArrayString(), 0
    FROM {{database}}.window_rows
    WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay({{retention_days}}) AND window_rows.events > 0
    GROUP BY tenant_id, agent_id
    UNION ALL
    SELECT
        tenant_id, agent_id, false, max(alert_rows.time), -1, '', '', '', '', '', '', '', '', NULL, '',
        min(alert_rows.time), 0, emptyArrayString(),
        toInt64(uniqExactIf(episode_id, alert_rows.status = 'open')) - toInt64(uniqExactIf(episode_id, alert_rows.status = 'close'))
    FROM {{database}}.alert_rows
    WHERE recorded_at >= now64(3, 'UTC') - toIntervalDay({{retention_days}})
    GROUP BY tenant_id, agent_id
)
GROUP BY tenant_id, agent_id;
