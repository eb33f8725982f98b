SELECT toDate(time) AS day, count() AS events, countIf(outcome = 'failure') AS failures, countIf(outcome = 'denied') AS denied,
    sum(activity.bytes_sent) AS bytes_sent, sum(activity.bytes_received) AS bytes_received
FROM activity
WHERE tenant_id = {tenant:String} AND agent_id = {agent:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
GROUP BY day
ORDER BY day DESC
LIMIT 14
