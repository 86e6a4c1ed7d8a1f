#!/usr/bin/env bash
# pillow-heif hands out HEIC of 10 and 12 bits as 16-bit numbers whose white is not 65535 but 65472 (10 bits) and 65520
# (12 bits): samples are shifted up and the low bits left empty. Taken for 16 bits, as its mode "RGB;16" says, a white
# sky is grey by 63 of 65535, and a mask or alpha never quite opaque. pillow-heif 1.8.1, libheif 1.23.6.
# What we do: shift down by the file's own bit depth and scale to the full range (imaging/heif.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 pillow==13.0.0 pillow-heif==1.8.1
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import pillow_heif

print("pillow-heif", pillow_heif.__version__, "libheif", pillow_heif.libheif_info()["libheif"])
white = np.full((64, 64, 3), 65535, np.uint16)
for bits, expected in ((10, 65472), (12, 65520)):
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), white.tobytes()).save(file, quality=-1, chroma=444)
    file.seek(0)
    heif = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
    found = int(np.asarray(heif).max())
    print(f"{bits} bits: mode {heif.mode}, bit_depth {heif.info['bit_depth']}, white is {found} of 65535")
    assert found == expected, "pillow-heif does otherwise now"
PYTHON
echo "as found: white is short of the full range"
