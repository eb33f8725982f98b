#!/usr/bin/env bash
# Runs ClickHouse's own clients against the embedded engine of a real `plumbline run`:
# clickhouse-connect (pip), @clickhouse/client (npm), the JDBC driver (Maven) and
# clickhouse-go, over HTTP, each fetched into a directory in a pinned version:
#
#     benchmarks/clients/check.sh DIRECTORY [python|node|java|go ...]
#
# Without names all of them run. A client that is missing is a failure.
set -euo pipefail
dir=${1:?which directory?}
shift
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
clients=("$@")
[ $# -gt 0 ] || clients=(python node java go)

fetch() {
  case $1 in
  python)
    if ! [ -d "$dir/python/clickhouse_connect" ] || ! cmp -s "$here/requirements.txt" "$dir/python/requirements.txt"; then
      rm -rf "$dir/python"
      python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target "$dir/python" -r "$here/requirements.txt"
      cp "$here/requirements.txt" "$dir/python/"
    fi ;;
  node)
    mkdir -p "$dir/node"
    if ! [ -d "$dir/node/node_modules/@clickhouse/client" ] || ! cmp -s "$here/package.json" "$dir/node/package.json"; then
      cp "$here/package.json" "$dir/node/"
      (cd "$dir/node" && npm install --silent --no-audit --no-fund)
    fi ;;
  java) "$here/../jars.sh" "$dir/java" com.clickhouse:clickhouse-jdbc:0.10.0 ;;
  go) (cd "$root" && go vet -tags clients ./benchmarks/clients) ;;
  esac
}

run() {
  case $1 in
  python) PYTHONPATH="$dir/python" python3 "$here/connect.py" ;;
  node) cp "$here/client.test.mjs" "$dir/node/" && (cd "$dir/node" && node --test client.test.mjs) ;;
  java) java -cp "$dir/java/*" "$here/Jdbc.java" 2> >(grep -v SLF4J >&2) ;;
  go) (cd "$root" && go test -tags clients -count=1 ./benchmarks/clients) ;;
  *) echo "check.sh: no client $1" >&2; return 1 ;;
  esac
}

for client in "${clients[@]}"; do fetch "$client"; done

work=$(mktemp -d)
service=
trap '[ -z "$service" ] || { kill $service && wait $service; } 2>/dev/null || true; rm -rf "$work"' EXIT
export CLICKHOUSE_PORT READER_PASSWORD="it's a secret"

# start returns when the service is ready; another program may take a port meanwhile.
start() {
  read -r kafka CLICKHOUSE_PORT admin < <(python3 - <<'PY'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in held))
PY
)
  cat >"$work/plumbline.yaml" <<YAML
data_dir: $work/data
embedded: {kafka_listen: "127.0.0.1:$kafka", clickhouse_listen: "127.0.0.1:$CLICKHOUSE_PORT", reader_password: "\${READER_PASSWORD}"}
admin: {listen: "127.0.0.1:$admin"}
YAML
  "$root/bin/plumbline" run --config "$work/plumbline.yaml" 2>"$work/log" &
  service=$!
  for _ in $(seq 600); do
    if curl -fs -o /dev/null "http://127.0.0.1:$admin/readyz" && kill -0 $service 2>/dev/null; then return 0; fi
    kill -0 $service 2>/dev/null || break
    sleep 0.2
  done
  cat "$work/log" >&2
  return 1
}
start || start || start

failed=()
for client in "${clients[@]}"; do
  printf '\n-- %s\n' "$client"
  run "$client" || failed+=("$client")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "clients: failed: ${failed[*]}" >&2
  exit 1
fi
