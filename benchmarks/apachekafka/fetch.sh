#!/usr/bin/env bash
# Fetches the jars of an Apache Kafka broker with Maven into a directory, once:
#
#     benchmarks/apachekafka/fetch.sh DIRECTORY
#
# The broker needs Java 17. `benchmarks/faults --kafka DIRECTORY` starts it, and so
# does the conformance suite with PLUMBLINE_TEST_KAFKA=DIRECTORY.
set -euo pipefail
version=4.1.0
dir=${1:?which directory?}
if [ -f "$dir/kafka_2.13-$version.jar" ]; then exit 0; fi
for tool in java mvn; do
  command -v "$tool" >/dev/null || { echo "fetch.sh: $tool is not installed" >&2; exit 1; }
done
mkdir -p "$dir"
pom=$(mktemp -d)
trap 'rm -rf "$pom"' EXIT
cat >"$pom/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>plumbline</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j2-impl</artifactId><version>2.24.3</version></dependency>
  </dependencies>
</project>
XML
mvn -q -B -f "$pom/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$(cd "$dir" && pwd)"
