-- Who may do what in Plumbline's database: run it as an administrator, again after an
-- upgrade. Another clickhouse.database than plumbline: put its name in.
--
--     clickhouse-client --multiquery < roles.sql
--     CREATE USER plumbline IDENTIFIED WITH sha256_password BY '...';
--     GRANT plumbline_writer TO plumbline;
--
-- and the same for people (plumbline_analyst) and Grafana (plumbline_grafana). On a cluster
-- every host must know them: docs/clickhouse-cluster.md.

-- What the service does, and no more: it makes the database, its tables and views, puts
-- back what was lost of them, inserts, and reads. It can't drop a table or a column, delete
-- or change rows.
CREATE ROLE IF NOT EXISTS plumbline_writer;
-- CREATE TABLE includes views.
GRANT CREATE DATABASE, CREATE TABLE, DROP VIEW ON plumbline.* TO plumbline_writer;
GRANT ALTER ADD COLUMN, ALTER ADD INDEX, ALTER SETTINGS, ALTER TTL ON plumbline.* TO plumbline_writer;
GRANT INSERT, SELECT ON plumbline.* TO plumbline_writer;
-- CREATE OR REPLACE makes the new one under such a name, and drops the old one from there.
GRANT DROP TABLE ON plumbline._tmp_replace_* TO plumbline_writer;
-- Whether stored data can be read back.
GRANT SELECT ON system.parts TO plumbline_writer;
GRANT SELECT ON system.detached_parts TO plumbline_writer;
GRANT SELECT ON system.errors TO plumbline_writer;
-- Where a server asks for it (table_engines_require_grant).
GRANT TABLE ENGINE ON MergeTree TO plumbline_writer;
GRANT TABLE ENGINE ON ReplacingMergeTree TO plumbline_writer;

-- On a cluster beside that: statements ON CLUSTER, and tables over all shards, which hold
-- no rows and are replaced.
CREATE ROLE IF NOT EXISTS plumbline_cluster_writer;
GRANT plumbline_writer TO plumbline_cluster_writer;
GRANT CLUSTER, REMOTE ON *.* TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.activity TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.alerts TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.windows TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.registrations TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.agents TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.activity_rows_distributed TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.registration_rows_distributed TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.alert_rows_distributed TO plumbline_cluster_writer;
GRANT DROP TABLE ON plumbline.window_rows_distributed TO plumbline_cluster_writer;
GRANT SELECT ON system.databases TO plumbline_cluster_writer;
GRANT SELECT ON system.tables TO plumbline_cluster_writer;
GRANT SELECT ON system.columns TO plumbline_cluster_writer;
GRANT SELECT ON system.data_skipping_indices TO plumbline_cluster_writer;
GRANT TABLE ENGINE ON Distributed TO plumbline_cluster_writer;
GRANT TABLE ENGINE ON ReplicatedMergeTree TO plumbline_cluster_writer;
GRANT TABLE ENGINE ON ReplicatedReplacingMergeTree TO plumbline_cluster_writer;

-- People who ask. readonly = 2 lets clients change settings, within these bounds, and
-- nothing else. Views read with the rights of who asks, so that these include the tables
-- under them. On a cluster a subquery is asked once, of all shards.
CREATE SETTINGS PROFILE IF NOT EXISTS plumbline_analyst SETTINGS
    readonly = 2,
    max_execution_time = 60 MIN 1 MAX 300,
    max_memory_usage = 4000000000 MIN 1 MAX 8000000000,
    max_result_rows = 1000000 MIN 1 MAX 10000000,
    max_threads = 4 MIN 1 MAX 8,
    distributed_product_mode = 'global';
CREATE ROLE IF NOT EXISTS plumbline_analyst SETTINGS PROFILE 'plumbline_analyst';
GRANT SELECT ON plumbline.* TO plumbline_analyst;
-- A statement on the views reads each of its rows once: the hour is good for some hundred
-- reads of everything at ten million events.
CREATE QUOTA IF NOT EXISTS plumbline_analyst KEYED BY user_name
    FOR INTERVAL 1 hour MAX queries = 1000, read_rows = 5000000000, execution_time = 1800
    TO plumbline_analyst;

-- Dashboards: many short statements, again and again.
CREATE SETTINGS PROFILE IF NOT EXISTS plumbline_grafana SETTINGS
    readonly = 2,
    max_execution_time = 30 MIN 1 MAX 60,
    max_memory_usage = 2000000000 MIN 1 MAX 4000000000,
    max_result_rows = 100000 MIN 1 MAX 1000000,
    max_threads = 2 MIN 1 MAX 4,
    distributed_product_mode = 'global';
CREATE ROLE IF NOT EXISTS plumbline_grafana SETTINGS PROFILE 'plumbline_grafana';
GRANT SELECT ON plumbline.* TO plumbline_grafana;
CREATE QUOTA IF NOT EXISTS plumbline_grafana KEYED BY user_name
    FOR INTERVAL 1 hour MAX queries = 20000, read_rows = 50000000000, execution_time = 3600
    TO plumbline_grafana;
