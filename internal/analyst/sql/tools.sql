SELECT tool, count() AS calls, countIf(outcome = 'failure') AS failures, countIf(outcome = 'denied') AS denied, min(time) AS first_call, max(time) AS last_call
FROM activity
WHERE tenant_id = {tenant:String} AND agent_id = {agent:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND tool != ''
GROUP BY tool
ORDER BY calls DESC, tool
LIMIT 20
