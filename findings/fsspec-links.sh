#!/usr/bin/env bash
# fsspec's local file system lists a link to a file, or to a folder, as of type "other", and says "file" or "directory" of
# the same link when it is asked for it by name. fsspec 2026.9.0, Linux. Who walks through folders by the listed types
# passes over linked folders without a word.
# What we do: local folders are listed by os.scandir, which follows links (bulk/stores.py, `_scanned`).
#
# Prints both answers. Fails where they agree: then the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fsspec==2026.9.0
mkdir "$folder/photos"
ln -s "$folder" "$folder/photos/more"
"$folder/venv/bin/python" - "$folder/photos" <<'PYTHON'
import sys

import fsspec

print("fsspec", fsspec.__version__)
files, folder = fsspec.filesystem("file"), sys.argv[1]
(listed,) = files.ls(folder, detail=True)
asked = files.info(f"{folder}/more")
print("a link to a folder is listed as", listed["type"], "- asked for by name:", asked["type"])
if listed["type"] == asked["type"]:
    raise SystemExit("both answers agree now")
PYTHON
