#!/usr/bin/env bash
# A TIFF that holds YCbCr, each pixel with its own Cb and Cr, plain or by LZW, is handed out by pyvips as if they were
# red, green and blue: no error, no warning, and `interpretation` says "srgb". (Of JPEG in TIFF, and of Cb and Cr that
# pixels share, it does make RGB.) A picture of pure red comes out as (76, 84, 255). pyvips 3.2.0 with libvips 8.18.7;
# Pillow 13.0.0 reads the same LZW file right.
# What we do: pyvips gets no such file, libtiff converts strip by strip (imaging/tiff_rows.py, `_suits_vips` in tiff.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0 pyvips==3.2.0 pyvips-binary==8.18.7
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import PIL
import pyvips
from PIL import Image

folder = Path(sys.argv[1])
print("pyvips", pyvips.__version__, "libvips", ".".join(str(pyvips.version(part)) for part in range(3)), "Pillow", PIL.__version__)
red = Image.new("RGB", (64, 64), (255, 0, 0))
found = {}
for coding in ("raw", "tiff_lzw", "jpeg"):
    path = folder / f"{coding}.tif"
    red.convert("YCbCr").save(path, compression=coding)
    image = pyvips.Image.new_from_file(str(path))
    found[coding] = (image.interpretation, [round(value) for value in image(5, 5)])
    print(f"YCbCr {coding}: pyvips {found[coding]}, Pillow {Image.open(path).convert('RGB').getpixel((5, 5))}")
assert found["raw"] == found["tiff_lzw"] == ("srgb", [76, 84, 255]), "pyvips does otherwise now"
assert found["jpeg"][1][0] > 250 > 5 > found["jpeg"][1][2], "pyvips does otherwise now"
PYTHON
echo "as found: plain YCbCr is taken for RGB"
