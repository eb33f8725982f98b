-- What an analyst looks up across agents, and what makes the views cheap.
--
-- `time` is in the key behind the agent, where it leaves no day out; its least and
-- greatest value do. The others are bloom filters: a granule holds some agents, and
-- each of them few credentials, addresses, principals and tools.
--
-- An index is there for new parts, and for old ones once they are merged:
-- MATERIALIZE INDEX, which reads the column again, is left to the operator.
ALTER TABLE {{database}}.activity_rows
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
ALTER TABLE {{database}}.activity_rows
    MODIFY SETTING min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;
ALTER TABLE {{database}}.window_rows
    MODIFY SETTING min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;
