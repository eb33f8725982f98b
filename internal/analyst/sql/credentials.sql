SELECT credential_type AS type, credential_id AS credential, max(credential_expires) AS expires, count() AS events, min(time) AS first_use, max(time) AS last_use
FROM activity
WHERE tenant_id = {tenant:String} AND agent_id = {agent:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND (credential_id != '' OR credential_type != '')
GROUP BY type, credential
ORDER BY last_use DESC, credential
LIMIT 20
