#!/bin/sh
# Runs in the container of ClickHouse when it starts for the first time: makes the user
# of the dashboards, who may read Plumbline's tables and nothing else.
set -eu
hash=$(printf %s "$(cat /run/secrets/reader_password)" | sha256sum | cut -d ' ' -f 1)
clickhouse-client --user plumbline --password "$(cat /run/secrets/clickhouse_password)" --multiquery --query "
  CREATE USER IF NOT EXISTS reader IDENTIFIED WITH sha256_hash BY '$hash' SETTINGS readonly = 2;
  GRANT SELECT ON plumbline.* TO reader;"
