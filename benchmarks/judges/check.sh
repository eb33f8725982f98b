#!/usr/bin/env bash
# Reads CEF alerts with a parser that others wrote (pycef, which pip fetches into a
# directory) and compares what it finds with the same alerts as JSON:
#
#     benchmarks/judges/check.sh DIRECTORY
set -euo pipefail
dir=${1:?which directory?}
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
command -v python3 >/dev/null || { echo "check.sh: python3 is not installed" >&2; exit 1; }
mkdir -p "$dir"
[ -d "$dir/pycef" ] || python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target "$dir" pycef==1.11
echo 'detector: {alerts_per_agent_day: 9}' >"$dir/wide.yaml"
"$root/bin/plumbline" simulate --agents 40 --days 4 --seed 5 --scenario exfil_fast,sweep,burst --attacks 6 >"$dir/events.jsonl" 2>/dev/null
# Values that try to break out of their fields.
cat >>"$dir/events.jsonl" <<'JSONL'
{"event_id":"h1","agent_id":"a|b=c\\ suid=admin","agent_name":"x\\","tool":"t|t=1","action":"tool_call","access":"send","resources":["url:http://x/=|\\"],"bytes_sent":9000000}
{"event_id":"h2","agent_id":"a|b=c\\ suid=admin","session_id":"s=1 externalId=0|","tool":"u\u202eu","action":"tool_call","access":"send","resources":["email:=@|"],"bytes_sent":90000000}
JSONL
for form in json cef; do
  "$root/bin/plumbline" replay --config "$dir/wide.yaml" --input "$dir/events.jsonl" --alerts "$dir/alerts.$form" --alerts-format "$form" >/dev/null
done
PYTHONPATH="$dir" python3 "$here/cef.py" "$dir/alerts.json" "$dir/alerts.cef"
