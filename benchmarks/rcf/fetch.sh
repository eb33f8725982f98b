#!/usr/bin/env bash
# Fetches the jar of AWS's Random Cut Forest with Maven into a directory, once:
#
#     benchmarks/rcf/fetch.sh .cache/rcf
#
# The page of `make quality` compares with it where it is there.
exec "$(dirname "$0")/../jars.sh" "${1:?which directory?}" software.amazon.randomcutforest:randomcutforest-core:4.3.0
