-- The same tables on every shard, as one. An agent's rows are all on one shard, so that
-- FINAL there finds every repetition of a row.
--
-- What people query passes the whole statement on to the views of the shards: each
-- filters with its indexes, hides repetitions and aggregates what it has. A view over a
-- Distributed table would fetch the rows instead.
--
-- Replaced at once whenever a view or a table was: they copy the columns.
CREATE OR REPLACE TABLE {{database}}.activity_rows_distributed AS {{database}}.activity_rows
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'activity_rows', cityHash64(tenant_id, agent_id));

CREATE OR REPLACE TABLE {{database}}.registration_rows_distributed AS {{database}}.registration_rows
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'registration_rows', cityHash64(tenant_id, agent_id));

CREATE OR REPLACE TABLE {{database}}.alert_rows_distributed AS {{database}}.alert_rows
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'alert_rows', cityHash64(tenant_id, agent_id));

CREATE OR REPLACE TABLE {{database}}.window_rows_distributed AS {{database}}.window_rows
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'window_rows', cityHash64(tenant_id, agent_id));

CREATE OR REPLACE TABLE {{database}}.activity AS {{database}}.activity_shard
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'activity_shard');

CREATE OR REPLACE TABLE {{database}}.alerts AS {{database}}.alerts_shard
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'alerts_shard');

CREATE OR REPLACE TABLE {{database}}.windows AS {{database}}.windows_shard
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'windows_shard');

CREATE OR REPLACE TABLE {{database}}.registrations AS {{database}}.registrations_shard
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'registrations_shard');

CREATE OR REPLACE TABLE {{database}}.agents AS {{database}}.agents_shard
ENGINE = Distributed('{{cluster_name}}', {{database}}, 'agents_shard');
