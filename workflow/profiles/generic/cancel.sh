#!/usr/bin/env bash
# Cancel jobs. Arguments: their ids. A training that is cancelled saves itself first.
for job in "$@"; do
    pkill -TERM --session "$job" || true
done
