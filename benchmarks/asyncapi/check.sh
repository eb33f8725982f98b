#!/usr/bin/env bash
# Validates schemas/asyncapi.yaml, with the schemas that it refers to, with the
# AsyncAPI Initiative's own parser, which npm fetches into a directory:
#
#     benchmarks/asyncapi/check.sh DIRECTORY
set -euo pipefail
dir=${1:?which directory?}
file=$(cd "$(dirname "$0")/../.." && pwd)/schemas/asyncapi.yaml
command -v npm >/dev/null || { echo "check.sh: npm is not installed" >&2; exit 1; }
mkdir -p "$dir"
if [ ! -d "$dir/node_modules/@asyncapi/parser" ]; then
  (cd "$dir" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund @asyncapi/parser@3.4.0)
fi
cat >"$dir/check.cjs" <<'JS'
const { Parser, fromFile } = require('@asyncapi/parser');
(async () => {
  const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
  const bad = diagnostics.filter(d => d.severity === 0);
  for (const d of diagnostics) console.log(d.severity === 0 ? 'ERROR' : 'note', d.path.join('.'), d.message);
  if (!document || bad.length) process.exit(1);
  console.log(`${document.allChannels().length} channels, ${document.allMessages().length} messages: valid`);
})().catch(e => { console.error(e); process.exit(1); });
JS
(cd "$dir" && node check.cjs "$file")
