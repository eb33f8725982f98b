-- Who an agent is, by its registration and its latest events: one row a tenant.
SELECT
    tenant AS tenant_id, name AS agent_name, version AS agent_version, peers AS peer_group, if(said.owner != '', said.owner, owner) AS owner,
    said.registration AS registration, said.contact AS contact,
    first_seen, last_seen, days, events, failures, denied, sessions, bytes_sent, bytes_received
FROM
(
    SELECT
        tenant_id AS tenant,
        argMax(activity.agent_name, time) AS name, argMax(activity.agent_version, time) AS version, argMax(activity.peer_group, time) AS peers,
        argMaxIf(if(attributes['agent_owner'] != '', attributes['agent_owner'], attributes['owner']), time, attributes['agent_owner'] != '' OR attributes['owner'] != '') AS owner,
        min(time) AS first_seen, max(time) AS last_seen, uniqExact(toDate(time)) AS days,
        count() AS events, countIf(outcome = 'failure') AS failures, countIf(outcome = 'denied') AS denied,
        uniqExact(session_id) AS sessions, sum(activity.bytes_sent) AS bytes_sent, sum(activity.bytes_received) AS bytes_received
    FROM activity
    WHERE agent_id = {agent:String} AND ({tenant:String} = '' OR tenant_id = {tenant:String})
    GROUP BY tenant_id
) AS acts
LEFT JOIN
(
    SELECT tenant_id AS of, argMax(owner, (time, log_offset)) AS owner, argMax(contact, (time, log_offset)) AS contact, argMax(registration, (time, log_offset)) AS registration
    FROM registrations
    WHERE agent_id = {agent:String} AND ({tenant:String} = '' OR tenant_id = {tenant:String})
    GROUP BY tenant_id
) AS said ON acts.tenant = said.of
ORDER BY events DESC, tenant_id
LIMIT 100
