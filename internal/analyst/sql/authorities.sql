SELECT on_behalf_of AS authority, count() AS events, uniqExact(session_id) AS sessions, min(time) AS first_use, max(time) AS last_use
FROM activity
WHERE tenant_id = {tenant:String} AND agent_id = {agent:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND on_behalf_of != ''
GROUP BY authority
ORDER BY events DESC, authority
LIMIT 20
