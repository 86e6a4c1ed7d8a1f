#!/usr/bin/env bash
# fsspec's `isfile` says False whatever goes wrong: there is no such file, but also nobody answers, or access is denied.
# fsspec and s3fs 2026.9.0. Who asks whether a file is there, and takes no for an answer, takes a moment without network
# for a file that is gone; no retry around the call ever sees an error. `isdir` swallows every OSError in the same way.
# What we do: `info`, of whose errors FileNotFoundError alone means no (bulk/stores.py, `Store.exists`).
#
# Asks for a file of a store at a port of this machine where nothing listens. Prints both answers. Fails where `isfile`
# does not say False: then the behaviour has changed. Takes a minute: s3fs tries each five times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fsspec==2026.9.0 s3fs==2026.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import socket

import fsspec
import s3fs

print("fsspec", fsspec.__version__, "s3fs", s3fs.__version__)
with socket.socket() as unheard:  # bound, and nobody listens
    unheard.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{unheard.getsockname()[1]}"
    store = fsspec.filesystem("s3", key="x", secret="x", endpoint_url=address)
    said = store.isfile("bucket/photo.jpg")
    print("is it a file?", said)
    try:
        store.info("bucket/photo.jpg")
    except Exception as error:
        print("what is it?  ", type(error).__name__)
if said is not False:
    raise SystemExit("isfile says something else now")
PYTHON
