#!/usr/bin/env bash
# Fills a directory with all that the container image holds:
#
#     deploy/container/rootfs.sh DIRECTORY [VERSION]
#
# The server build for GOOS and GOARCH, the authorities that TLS believes, time zones,
# and a user without rights. The Containerfile calls it; it needs Go, make and the
# system's ca-certificates.
set -euo pipefail
root=$(realpath -m "${1:?which directory?}")
cd "$(dirname "$0")/../.."
mkdir -p "$root/usr/bin" "$root/usr/share" "$root/etc/ssl/certs"
make --no-print-directory build-server BIN="$root/usr/bin" ${2:+VERSION="$2"}
mv "$root/usr/bin/plumbline-server" "$root/usr/bin/plumbline"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp "$(go env GOROOT)/lib/time/zoneinfo.zip" "$root/usr/share/"
echo 'plumbline:x:65532:65532::/:/sbin/nologin' > "$root/etc/passwd"
echo 'plumbline:x:65532:' > "$root/etc/group"
