#!/usr/bin/env bash
# State of one job. Argument: its id. Prints running, success or failed.
set -euo pipefail
result=.snakemake/generic/$1
if [ ! -e "$result" ] && kill -0 "$1" 2> /dev/null; then
    echo running
elif [ "$(cat "$result" 2> /dev/null)" = 0 ]; then
    echo success
else
    echo failed
fi
