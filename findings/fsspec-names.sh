#!/usr/bin/env bash
# fsspec takes a local path with "::" in it for two addresses, one within the other, and gives the first: of
# /archive/a::b/c it makes /archive/a, without a word. fsspec 2026.9.0. Such a folder is a valid one on Linux; who writes
# "into it" through fsspec.open or url_to_fs writes somewhere else.
# What we do: what is no address goes to fsspec's local file system as it is (bulk/stores.py, `Store`).
#
# Prints what becomes of a path. Fails where it stays as it is: then the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fsspec==2026.9.0
mkdir -p "$folder/a::b"
"$folder/venv/bin/python" - "$folder/a::b/c.txt" <<'PYTHON'
import sys
from pathlib import Path

import fsspec

print("fsspec", fsspec.__version__)
path = sys.argv[1]
_, found = fsspec.core.url_to_fs(path)
print(path, "->", found)
with fsspec.open(path, "w") as file:
    file.write("hello")
print("written to", *(one for one in Path(path).parent.parent.iterdir() if one.name != "venv"))
if found == path:
    raise SystemExit("the path stays as it is now")
PYTHON
