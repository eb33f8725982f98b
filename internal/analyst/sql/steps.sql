-- The steps of the episodes of which an id begins so, each as it was published.
SELECT alert
FROM alerts
WHERE (tenant_id, agent_id, episode_id) IN
(
    SELECT tenant_id, agent_id, episode_id
    FROM alerts
    WHERE startsWith(episode_id, {id:String}) OR startsWith(alert_id, {id:String})
)
ORDER BY tenant_id, agent_id, episode_id, time, indexOf(['open', 'update', 'close'], status)
LIMIT 10000
