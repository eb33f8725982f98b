SELECT source_ip AS address, count() AS events, min(time) AS first_use, max(time) AS last_use
FROM activity
WHERE tenant_id = {tenant:String} AND agent_id = {agent:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND source_ip != ''
GROUP BY address
ORDER BY last_use DESC, address
LIMIT 20
