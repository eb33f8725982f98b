#!/usr/bin/env bash
# Fetches the jars of an Apache Kafka broker with Maven into a directory, once:
#
#     pipeline/kafka/kafkatest/fetch.sh DIRECTORY
#
# The broker needs Java 17. `benchmarks/faults --kafka DIRECTORY` starts it, and so
# does the conformance suite with PLUMBLINE_TEST_KAFKA=DIRECTORY.
exec "$(dirname "$0")/../jars.sh" "${1:?which directory?}" org.apache.kafka:kafka_2.13:4.1.0 org.apache.logging.log4j:log4j-slf4j2-impl:2.24.3
