#!/usr/bin/env bash
# Create or update .venv from requirements.lock. Needs only Python 3.11 to 3.13 with its venv module.
set -euo pipefail
cd "$(dirname "$0")/.."

oldest=11
newest=13

# Prints the first suitable interpreter, 3.12 last (see README.md); explains what is missing when there is none.
find_python() {
    local name version found="" without_venv=""
    for name in python3.11 python3.13 python3.12 python3; do
        command -v "$name" >/dev/null || continue
        version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || continue
        found+=" $name ($version)"
        case "$version" in 3.1[1-3]) ;; *) continue ;; esac
        if "$name" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$name"
            return
        fi
        without_venv=${without_venv:-$version}
    done
    if [ -n "$without_venv" ]; then
        echo "error: Python $without_venv lacks its venv module. Install it, then run make again:" >&2
        echo "    apt-get install python$without_venv-venv" >&2
    else
        echo "error: Python 3.$oldest to 3.$newest is needed, found:${found:- none}." >&2
        echo "Install one of them, for example: apt-get install python3.$oldest python3.$oldest-venv" >&2
    fi
    return 1
}

# Turns pip's long output into one counting line per package.
show_progress() {
    local line name count=0 total
    total=$(grep -c '^[a-zA-Z]' requirements.lock)
    while read -r line; do
        case "$line" in
        "Requirement already satisfied: "*) count=$((count + 1)) ;;
        "Collecting "* | "Processing "*)
            count=$((count + 1))
            name=${line#* }
            name=${name##*/}
            [ "$count" -gt "$total" ] || echo "[$count/$total] ${name%% *}"
            ;;
        "Installing collected packages:"*) echo "Unpacking all of them: a minute or two" ;;
        esac
    done
}

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    python=$(find_python)
    echo "Creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

echo "Installing the packages of requirements.lock into .venv: about 7 GB, some minutes the first time"
export PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install --require-hashes --requirement requirements.lock | show_progress
rm -f mssts/*/_*.so  # where they cannot be compiled again, old ones would stay
# By its path: the finder that is the default loses to a folder `mssts` in the working directory, such as the clone itself.
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
