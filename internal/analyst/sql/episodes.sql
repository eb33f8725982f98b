-- One row an episode: how bad it was at its worst, and how it stands.
SELECT
    episode AS episode_id, state, severity, score, updates, opened, last_seen,
    tenant AS tenant_id, agent AS agent_id, peers AS peer_group, title, summary
FROM
(
    SELECT
        episode_id AS episode, tenant_id AS tenant, agent_id AS agent, any(alerts.peer_group) AS peers,
        if(countIf(status = 'close') > 0, 'closed', 'open') AS state,
        countIf(status = 'update') AS updates,
        min(first_seen) AS opened, max(alerts.last_seen) AS last_seen,
        argMax(alerts.severity, worst) AS severity,
        max(alerts.score) AS score,
        argMax(alerts.title, worst) AS title,
        argMax(alerts.summary, worst) AS summary
    FROM
    (
        SELECT *, (indexOf(['low', 'medium', 'high', 'critical'], severity), status != 'close', -expected_per_agent_day) AS worst
        FROM alerts
    ) AS alerts
    WHERE ({tenant:String} = '' OR tenant_id = {tenant:String}) AND ({agent:String} = '' OR agent_id = {agent:String})
    GROUP BY tenant_id, agent_id, episode_id
)
WHERE last_seen >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND indexOf(['low', 'medium', 'high', 'critical'], severity) >= {severity:UInt8}
    AND ({state:String} = '' OR state = {state:String})
ORDER BY state = 'open' DESC, last_seen DESC, episode
LIMIT {limit:UInt64}
