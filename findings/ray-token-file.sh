#!/usr/bin/env bash
# A token that lies in ~/.ray/auth_token divides a Ray cluster. Ray 2.60.0, wheels for Linux.
#
# `ray get-auth-token --generate` leaves the file. From then on `ray start --head` asks whoever joins for that token, though
# nothing says RAY_AUTH_MODE=token; `ray.init(address=...)`, of the same user on the same machine, does not send it, since
# its own mode is "disabled" unless said otherwise, and fails with "InvalidAuthToken". Without the file, or with the mode
# said to both, it joins.
# What we do: docs/bulk.md says to choose a mode on all machines before `ray start`.
#
# Prints what became of joining in each case. Fails where both agree by default. Uses a home of its own and port 6397, and
# ends its own cluster alone.
set -euo pipefail
folder=$(mktemp -d)
"${PYTHON:-python3}" -m venv "$folder/venv"
bin=$folder/venv/bin
"$bin/python" -m pip install --quiet --disable-pip-version-check 'ray[default]==2.60.0' >&2
export HOME=$folder/home RAY_TMPDIR=$folder/t
unset RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH
mkdir -p "$HOME" "$RAY_TMPDIR"
ended() { pkill -KILL -f "$folder" || true; sleep 1; }
trap 'ended; rm -rf "$folder"' EXIT

joined() { # WHAT: start a head and join it
    timeout 120 "$bin/ray" start --head --port 6397 --num-cpus 1 --include-dashboard false >"$folder/log" 2>&1 ||
        { cat "$folder/log"; exit 1; }
    local said
    said=$(timeout 120 "$bin/python" - 2>&1 <<'PYTHON' || true
import ray

try:
    ray.init(address="127.0.0.1:6397", log_to_driver=False, logging_level="ERROR")
    print("joined")
except Exception as error:
    print("InvalidAuthToken" if "InvalidAuthToken" in str(error) else "refused")
PYTHON
    )
    found=$(tail -n 1 <<<"$said")
    echo "$1: $found"
    ended
}

"$bin/ray" --version
joined "no token anywhere"; [[ $found == joined ]]
"$bin/ray" get-auth-token --generate >/dev/null 2>&1
joined "a token in ~/.ray, no mode said"; [[ $found != joined ]]
export RAY_AUTH_MODE=token
joined "the same, RAY_AUTH_MODE=token"; [[ $found == joined ]]
export RAY_AUTH_MODE=disabled
joined "the same, RAY_AUTH_MODE=disabled"; [[ $found == joined ]]
