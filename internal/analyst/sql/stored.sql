-- Alerts as they were published, and where in the log they were raised: those of which
-- the id, or that of their episode, begins so.
SELECT alert, log_partition, log_offset
FROM alerts
WHERE startsWith(alert_id, {id:String}) OR startsWith(episode_id, {id:String})
ORDER BY tenant_id, agent_id, episode_id, log_offset, time, indexOf(['open', 'update', 'close'], status)
LIMIT 10000
