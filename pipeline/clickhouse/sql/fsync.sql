-- One machine without replicas: a row counts as stored when the disk has it.
ALTER TABLE {{database}}.activity_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
ALTER TABLE {{database}}.registration_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
ALTER TABLE {{database}}.alert_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
ALTER TABLE {{database}}.window_rows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
