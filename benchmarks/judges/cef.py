"""Compares alerts as JSON with the same alerts as CEF, read by pycef."""
import json
import sys

import pycef

with open(sys.argv[1], encoding="utf-8") as f:
    alerts = [json.loads(line) for line in f]
with open(sys.argv[2], encoding="utf-8", newline="\n") as f:
    records = [line.rstrip("\n") for line in f]
assert len(alerts) == len(records) > 20, (len(alerts), len(records))
wrong = 0
for alert, record in zip(alerts, records):
    got = pycef.parse(record)
    want = {
        "DeviceVendor": "Plumbline",
        "DeviceEventClassID": "plumbline." + alert["signals"][0]["name"],
        "externalId": alert["alert_id"],
        "outcome": alert["status"],
        "rt": None,  # it is there
        # pycef puts a labelled field under its label.
        "episodeId": alert["episode_id"],
        "peerGroup": alert["agent"]["peer_group"],
        "tenantId": alert["tenant_id"],
    }
    if not set("|=\\") & set(alert["agent"]["id"]):  # pycef leaves escapes in place
        want["suid"] = alert["agent"]["id"]
    for key, value in want.items():
        if not got or key not in got or value is not None and got[key] != value:
            print(f"{key}: {got and got.get(key)!r}, not {value!r}, in {record[:300]}")
            wrong += 1
print(f"{len(records)} records, {wrong} wrong")
sys.exit(1 if wrong else 0)
