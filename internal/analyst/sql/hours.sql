SELECT toHour(time) AS hour, count() AS events, uniqExact(toDate(time)) AS days, sum(activity.bytes_sent) AS bytes_sent
FROM activity
WHERE tenant_id = {tenant:String} AND agent_id = {agent:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
GROUP BY hour
ORDER BY hour
