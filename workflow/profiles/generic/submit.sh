#!/usr/bin/env bash
# Submit one job. Arguments: threads, memory in MB, minutes, GPUs, job script. Prints the job's id and nothing else.
set -euo pipefail
jobs=.snakemake/generic
mkdir -p "$jobs"
setsid bash -c 'bash "$1"; code=$?; echo $code > "$2/$$.part"; mv "$2/$$.part" "$2/$$"' job "$5" "$jobs" \
    < /dev/null > /dev/null 2>&1 &
rm -f "$jobs/$!"
echo $!
