#!/usr/bin/env bash
# pyfive 1.3.0 reads other numbers than a file holds, and says nothing, where something stands before HDF5 in the file.
#
# HDF5 may begin behind a "user block", and addresses within count from there. MATLAB's files of version 7.3 always have
# one (512 bytes), and that is how MatConvNet's VGGs are kept. pyfive finds the names, shapes and types of such a file
# and reads attributes and what groups hold, but takes the values of arrays without chunks from where they would be if
# nothing stood before: the shape is right, the numbers are other bytes of the file. Arrays in chunks raise an error.
# What we do: core/matlab.py hands pyfive a copy of the file that begins where HDF5 does, with its base address set to 0.
#
# Writes the same three arrays with h5py, with a user block and without, and reads them with both libraries. Fails where
# pyfive reads the values right behind a user block, or reads others where there is none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check pyfive==1.3.0 h5py==3.16.0 "numpy<3" >&2
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import h5py
import numpy as np
import pyfive

rows = np.arange(24, dtype=np.float32).reshape(4, 6)
print("pyfive", pyfive.__version__, "and h5py", h5py.__version__)
surprises, as_expected = 0, 0
for block in (0, 512):
    with h5py.File("a.h5", "w", userblock_size=block) as file:
        file["matrix"] = rows
        file["row"] = rows[0]
        file.create_dataset("chunked", data=rows, chunks=(2, 3))
    with h5py.File("a.h5") as file, pyfive.File("a.h5") as other:
        for name in ("matrix", "row", "chunked"):
            right = file[name][...]
            try:
                found = np.asarray(other[name][...])
            except Exception as error:
                print(f"user block of {block:3} bytes, {name}: {type(error).__name__}")
                continue
            same = found.shape == right.shape and found.dtype == right.dtype and np.array_equal(found, right)
            begin = " ".join(f"{value:.3g}" for value in found.ravel()[:4])
            print(f"user block of {block:3} bytes, {name} {found.shape}: {'the same' if same else 'others'} ({begin} ...)")
            surprises += bool(block) and not same
            as_expected += not block and same
if (surprises, as_expected) != (2, 3):
    raise SystemExit("this has changed: see core/matlab.py")
PYTHON
