-- What was applied, by whom it was applied last. A version stands here more than
-- once when two programs migrated at the same time; that does no harm.
-- version 0 is the repeatable part (views and retention).
CREATE TABLE IF NOT EXISTS {{database}}.schema_migrations
(
    version    UInt32,
    name       String,
    checksum   String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (version, applied_at);
