#!/usr/bin/env bash
# Fetches the jar of AWS's Random Cut Forest with Maven into a directory, once:
#
#     benchmarks/rcf/fetch.sh DIRECTORY
#
# `make quality` compares with it where it is given the directory (--rcf).
set -euo pipefail
version=4.3.0
dir=${1:?which directory?}
if [ -f "$dir/randomcutforest-core-$version.jar" ]; then exit 0; fi
for tool in java mvn; do
  command -v "$tool" >/dev/null || { echo "fetch.sh: $tool is not installed" >&2; exit 1; }
done
mkdir -p "$dir"
pom=$(mktemp -d)
trap 'rm -rf "$pom"' EXIT
cat >"$pom/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>plumbline</groupId><artifactId>rcf</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>software.amazon.randomcutforest</groupId><artifactId>randomcutforest-core</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
XML
mvn -q -B -f "$pom/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$(cd "$dir" && pwd)"
