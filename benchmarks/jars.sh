#!/usr/bin/env bash
# Fetches jars and what they need with Maven into a directory, once:
#
#     benchmarks/jars.sh DIRECTORY GROUP:ARTIFACT:VERSION...
#
# Once the jar of the first artifact is there, there is nothing to do.
set -euo pipefail
dir=${1:?which directory?}
shift
IFS=: read -r _ artifact version <<<"${1:?which artifact?}"
if [ -f "$dir/$artifact-$version.jar" ]; then exit 0; fi
for tool in java mvn; do
  command -v "$tool" >/dev/null || { echo "jars.sh: $tool is not installed" >&2; exit 1; }
done
mkdir -p "$dir"
pom=$(mktemp -d)
trap 'rm -rf "$pom"' EXIT
{
  echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
  echo '<groupId>plumbline</groupId><artifactId>jars</artifactId><version>1</version><dependencies>'
  for coordinates in "$@"; do
    IFS=: read -r group artifact version <<<"$coordinates"
    echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
  done
  echo '</dependencies></project>'
} >"$pom/pom.xml"
mvn -q -B -f "$pom/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$(cd "$dir" && pwd)"
