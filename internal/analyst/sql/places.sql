-- Where its bytes went. An event with several resources counts in full for each.
SELECT place, access, count() AS calls, sum(activity.bytes_sent) AS bytes_sent, min(time) AS first_call, max(time) AS last_call
FROM activity
ARRAY JOIN if(target_agent_id = '', resources, arrayConcat(resources, [concat('agent:', target_agent_id)])) AS place
WHERE tenant_id = {tenant:String} AND agent_id = {agent:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND (activity.bytes_sent > 0 OR access = 'send' OR target_agent_id != '')
GROUP BY place, access
ORDER BY access = 'send' DESC, bytes_sent DESC, place
LIMIT 20
