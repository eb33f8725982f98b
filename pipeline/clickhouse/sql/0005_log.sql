-- Where a row's record stands in plumbline.activity, and when it was appended there:
-- what the detector saw, in the order in which it saw it. Of an alert it is the place of
-- the event at which it was raised. -1 in rows from before: their order is not known.
--
-- Route may write an event twice; `version` prefers the copy that came first, which is the
-- one that the detector counted.
ALTER TABLE {{database}}.activity_rows
    ADD COLUMN IF NOT EXISTS log_partition Int32 DEFAULT -1 CODEC(ZSTD(1)) AFTER origin_index,
    ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1 CODEC(Delta, ZSTD(1)) AFTER log_partition,
    ADD COLUMN IF NOT EXISTS log_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) AFTER log_offset,
    ADD INDEX IF NOT EXISTS log_offset log_offset TYPE minmax GRANULARITY 1;
ALTER TABLE {{database}}.alert_rows
    ADD COLUMN IF NOT EXISTS log_partition Int32 DEFAULT -1 CODEC(ZSTD(1)) AFTER recorded_at,
    ADD COLUMN IF NOT EXISTS log_offset Int64 DEFAULT -1 CODEC(ZSTD(1)) AFTER log_partition;
