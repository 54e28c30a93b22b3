#!/usr/bin/env bash
# Submit one job. Arguments: threads, memory in MB, minutes, GPUs, job script. Prints the job's id and nothing else.
# At its time limit a job gets SIGUSR1. A training then saves itself and asks, by the file .again, for another turn.
set -euo pipefail
jobs=$PWD/.snakemake/generic
mkdir -p "$jobs"
setsid bash -c '
    trap cancelled=1 TERM
    result=$1/$$
    export MSSTS_RESUBMIT="touch $result.again"
    while
        rm -f "$result.again"
        timeout --signal=USR1 "$2m" bash -c "trap \"\" USR1; exec bash \"\$0\"" "$3"
        code=$?
        [ -e "$result.again" ] && [ -z "${cancelled-}" ]
    do :; done
    rm -f "$result.again"
    echo $code > "$result.part"; mv "$result.part" "$result"
    ' job "$jobs" "$3" "$5" < /dev/null > /dev/null 2>&1 &
rm -f "$jobs/$!"
echo $!
