#!/usr/bin/env bash
# Prometheus's own check of rules, their tests and the scrape config: promtool.sh DIR.
# Where promtool is not installed, Debian's package is unpacked into DIR.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
  promtool=$dir/usr/bin/promtool
  if [ ! -x "$promtool" ] && command -v apt-get >/dev/null; then
    (cd "$dir" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } &&
      dpkg-deb -x prometheus_*.deb .) || true
  fi
  if [ ! -x "$promtool" ]; then
    echo "SKIPPED: promtool is not installed, and Debian's package prometheus can't be had"
    exit 0
  fi
fi
"$promtool" check rules plumbline.rules.yaml
"$promtool" check config prometheus.yml
"$promtool" test rules plumbline.rules.test.yaml
