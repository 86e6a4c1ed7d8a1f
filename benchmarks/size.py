"""Time, peak memory and exactness of large pictures: networks in bands, optimisation by blocks.

    python benchmarks/size.py [--megapixels 1 2 8 33 100] [--budget 2GB] [--optimise 1 2 8] [--precision auto]

Networks are `gallery` and `universal` where they ship, else untrained ones of the same sizes, and with --networks
adain an untrained AdaIN: times and memory do not depend on the weights, differences do. The photo is one of
examples/photos, enlarged as its rows are read, and the painting is kept as bytes in a temporary file, so that peaks are
the painter's own. "at once" is the plain network (naive PyTorch), where that takes less than --naive gigabytes; where
it does not, sampled statistics are compared with exact ones. "file to file" is what `impasto stylize` does with a TIFF
that does not fit into memory, by strips (needs the extra `huge`): decoding and encoding count, for time and for peak.
Optimisation is one evaluation with gradient of a VGG-19 up to relu5_1 with random weights: at once, and by blocks
within budgets of 4 GB to 2 and 6 GB to 8 megapixels. Every figure comes from a process of its own.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from common import child, machine, parser, peak_memory, show
from impasto.core.memory import held_memory, parse_memory, reuse_large_blocks
from impasto.core.precision import choose_precision
from impasto.core.rows import MapShape, Pool, RowStore
from impasto.core.streams import split_rows
from impasto.core.vgg import VGG
from impasto.imaging import read
from impasto.imaging.pixelfile import PixelFile
from impasto.networks.adain import AdaINConfig
from impasto.networks.bound import BoundStyle
from impasto.networks.brisk import BriskConfig
from impasto.networks.checkpoint import load_model, save_model
from impasto.networks.inference import bind, ready
from impasto.networks.registry import Network, build
from impasto.networks.shipped import find_model, shipped_models
from impasto.networks.universal import UniversalConfig
from impasto.optimize.blockwise import BlockObjective, layout_for, state_bytes
from impasto.optimize.objective import Objective
from impasto.optimize.presets import preset
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.strip_job import StripJob
from impasto.tiling.fitting import paint_rows, plan_for
from impasto.tiling.plan import TilingOptions

PHOTOS = Path(__file__).resolve().parents[1] / "examples" / "photos"
ASPECT = 4 / 3
UNTRAINED = {"gallery": BriskConfig(("a", "b")), "universal": UniversalConfig(), "adain": AdaINConfig()}


class Enlarged:
    """A photo of any size, made of a small one as it is read (bilinear)."""

    def __init__(self, small: Tensor, size: tuple[int, int]) -> None:
        self.small, (self.height, self.width) = small, size

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows, (1, 3, n, width)."""
        y = (torch.arange(top, bottom) + 0.5) * 2 / self.height - 1
        x = (torch.arange(self.width) + 0.5) * 2 / self.width - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
        return F.grid_sample(self.small, grid, mode="bilinear", padding_mode="border", align_corners=False)


def photo() -> Tensor:
    """The first of examples/photos, (1, 3, h, w)."""
    return read(next(path for path in sorted(PHOTOS.iterdir()) if path.suffix == ".jpg")).rgb


def size_of(megapixels: float) -> tuple[int, int]:
    height = round(math.sqrt(megapixels * 1e6 / ASPECT))
    return height, round(height * ASPECT)


@torch.inference_mode()
def network(name: str, precision: str) -> Network:
    torch.manual_seed(0)
    found = load_model(find_model(name))[0] if name in shipped_models() else build(UNTRAINED[name])
    return ready(found, choose_precision("cpu", precision))  # type: ignore[arg-type]


def bound(found: Network) -> BoundStyle:
    """With the first of its styles, or a photo as style."""
    return bind(found, [(found.styles[0] if found.styles else photo(), 1.0)])


def walk(found: Network, source: Enlarged, options: TilingOptions, out: RowStore) -> tuple[float, str]:
    """Paint in bands; -> seconds and the plan."""

    def put(top: int, rows: Tensor) -> None:
        out.write(top, rows.clamp(0, 1).mul(255).round_())

    painter = bound(found)
    plan = plan_for(found, (source.height, source.width), replace(options, held=held_memory()))
    began = time.perf_counter()
    for _ in paint_rows(painter, source, plan, put):
        pass
    return time.perf_counter() - began, str(plan)


@torch.inference_mode()
def paint_case(case: dict[str, Any]) -> dict[str, Any]:
    """One painting; `how` is at-once, exact, sampled, compare, make-file or file."""
    if case["how"] == "make-file":
        return make_file(case)
    if case["how"] == "file":
        return file_case(case)
    found, size = network(case["network"], case["precision"]), size_of(case["megapixels"])
    source = Enlarged(photo(), size)
    out = RowStore(MapShape(3, *size, torch.uint8), 0)
    if case["how"] == "at-once":
        began = time.perf_counter()
        out.write(0, whole(found, source.read(0, size[0])).mul(255).round_())
        return {"seconds": time.perf_counter() - began, "peak": peak_memory(), "plan": ""}
    if case["how"] == "compare":
        return compare(found, source, out, at_once=case["at_once"])
    options = TilingOptions(parse_memory(case["budget"]), statistics=case["how"])
    seconds, plan = walk(found, source, options, out)
    return {"seconds": seconds, "peak": peak_memory(), "plan": plan}


def compare(found: Network, source: Enlarged, out: RowStore, *, at_once: bool) -> dict[str, list[float]]:
    """Largest and mean difference, in 1/255, of bands to the plain network, or of sampled statistics to exact ones."""
    expected, result = RowStore(out.shape, 0), {}
    if at_once:
        expected.write(0, whole(found, source.read(0, source.height)).mul(255).round_())
    else:
        walk(found, source, TilingOptions(), expected)
    for statistics in ("exact", "sampled") if at_once else ("sampled",):
        walk(found, source, TilingOptions(statistics=statistics), out)
        largest, total = 0.0, 0.0
        for top, bottom in split_rows(source.height, min(source.height, 256)):
            apart = (out.read(top, bottom).float() - expected.read(top, bottom).float()).abs()
            largest, total = max(largest, float(apart.max())), total + float(apart.double().sum())
        result[statistics] = [largest, total / (3 * source.height * source.width)]
    return result


def make_file(case: dict[str, Any]) -> dict[str, Any]:
    """The photo as a TIFF."""
    size = size_of(case["megapixels"])
    source = Enlarged(photo(), size)
    with PixelFile(size, 3, 8, path=Path(case["folder"]) / "photo.tif") as pixels:
        for top, bottom in split_rows(size[0], min(size[0], 64)):
            pixels.write(top, source.read(top, bottom)[0].permute(1, 2, 0).mul(255).round().byte().numpy())
    return {}


def file_case(case: dict[str, Any]) -> dict[str, Any]:
    """From a file to a file."""
    folder, name, engine = Path(case["folder"]), case["network"], Engine()
    if name not in shipped_models():
        name = str(folder / "untrained.safetensors")
        save_model(Path(name), network(case["network"], "float32"), recipe={}, licence="none")
    model = engine.model(name, device="cpu", precision=case["precision"])
    request = StylizeRequest.of(
        style=next(PHOTOS.glob("*.jpg")) if model.any_style else model.styles[0].name,
        model=name,
        max_memory=case["budget"],
        statistics=case["statistics"],
    )
    began = time.perf_counter()
    output = Output(str(folder / "painting.tif"), force=True)
    with StripJob(engine, folder / "photo.tif", request, model, output, None) as job:
        for _ in job.run():
            pass
    return {"seconds": time.perf_counter() - began, "peak": peak_memory(), "plan": str(job.tiling)}


def whole(found: Network, image: Tensor) -> Tensor:
    return bound(found).whole().at_once(image).clamp(0, 1)


def optimise_case(case: dict[str, Any]) -> dict[str, Any]:
    """One evaluation with gradient; -> seconds and peak."""
    torch.manual_seed(0)
    precision, size = choose_precision("cpu", case["precision"]), size_of(case["megapixels"])
    vgg = VGG("vgg19", last="conv5_1", name="random").requires_grad_(False)
    for value in vgg.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
    vgg.to(dtype=precision.dtype, memory_format=precision.memory_format)
    settings = preset("balanced", backbone="vgg19")
    image, styles = Enlarged(photo(), size).read(0, size[0]), [(photo(), 1.0)]
    how = "at once"
    if case["budget"] is None:
        objective: Objective = Objective(vgg, image, styles, settings)
    else:
        state = state_bytes(settings, size)
        room = parse_memory(case["budget"]) - held_memory() - state
        layout = layout_for(vgg, settings, size, room, held=state)
        pool = Pool(room - layout.bytes)
        objective, how = BlockObjective(vgg, image, styles, settings, layout=layout, pool=pool), str(layout)
    leaf = image.requires_grad_()
    began = time.perf_counter()
    objective(leaf).total.backward()
    # The state of an optimiser is not there, but its room was kept free.
    spare = 0 if case["budget"] is None else state_bytes(settings, size) / 2**20
    return {"seconds": time.perf_counter() - began, "peak": peak_memory() + spare, "plan": how}


def run(case: dict[str, Any]) -> dict[str, Any]:
    done: dict[str, Any] = json.loads(child(__file__, "--case", json.dumps(case)).splitlines()[-1])
    return done


def networks_table(options: Any) -> None:
    rows = []
    for name in options.networks:
        for megapixels in options.megapixels:
            case = {"network": name, "megapixels": megapixels, "precision": options.precision, "budget": options.budget}
            if megapixels * 0.35 < options.naive:  # GB that the plain network takes per megapixel, at most
                rows.append(row(name, megapixels, "at once", run(case | {"how": "at-once"})))
            rows.extend(row(name, megapixels, how, run(case | {"how": how})) for how in ("exact", "sampled"))
            rows.extend(file_rows(name, megapixels, case))
    show(f"networks within {options.budget}", ("network", "Mpx", "how", "s", "ms/Mpx", "peak MB"), rows)
    rows = []
    for name in options.networks:
        for megapixels in options.megapixels:
            case = {"network": name, "megapixels": megapixels, "precision": options.precision, "how": "compare"}
            at_once = megapixels * 0.35 < options.naive
            rows.extend(
                [name, f"{megapixels:g}", how, "at once" if at_once else "exact", f"{largest:.2f}", f"{mean:.3f}"]
                for how, (largest, mean) in run(case | {"at_once": at_once}).items()
            )
    show("differences, in 1/255", ("network", "Mpx", "statistics", "to", "largest", "mean"), rows)


def file_rows(name: str, megapixels: float, case: dict[str, Any]) -> Iterator[list[str]]:
    """Rows of painting by strips, the photo being made by another process."""
    with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
        case = case | {"folder": folder}
        run(case | {"how": "make-file"})
        for statistics in ("exact", "sampled"):
            found = run(case | {"how": "file", "statistics": statistics})
            yield row(name, megapixels, f"file to file, {statistics}", found)


def optimise_table(options: Any) -> None:
    rows = []
    for megapixels in options.optimise:
        case = {"optimise": True, "megapixels": megapixels, "precision": options.precision}
        if megapixels * 1.5 < options.naive:
            rows.append(row("VGG-19", megapixels, "at once", run(case | {"budget": None})))
        budget = "4GB" if megapixels <= 2.1 else "6GB"
        found = run(case | {"budget": budget})
        rows.append(row("VGG-19", megapixels, f"{budget}: {found['plan']}", found))
    show("one step of an optimisation", ("network", "Mpx", "how", "s", "ms/Mpx", "peak MB"), rows)


def row(name: str, megapixels: float, how: str, found: dict[str, Any]) -> list[str]:
    per = 1000 * found["seconds"] / megapixels
    cells = [name, f"{megapixels:g}", how, f"{found['seconds']:.2f}", f"{per:.0f}", f"{found['peak']:.0f}"]
    print(*cells, file=sys.stderr, flush=True)  # the tables come at the end of a long run
    return cells


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--megapixels", type=float, nargs="*", default=[1, 2, 8, 33, 100])
    options.add_argument("--optimise", type=float, nargs="*", default=[1, 2, 8])
    options.add_argument("--networks", nargs="*", default=["gallery", "universal"], choices=UNTRAINED)
    options.add_argument("--budget", default="2GB")
    options.add_argument("--naive", type=float, default=16, help="GB that the plain network may take")
    options.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    options.add_argument("--threads", type=int)
    options.add_argument("--case", help="for the processes that this one starts")
    chosen = options.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    if chosen.case:
        reuse_large_blocks()
        case = json.loads(chosen.case)
        print(json.dumps(optimise_case(case) if case.get("optimise") else paint_case(case)))
        return
    print(machine())
    if chosen.megapixels:
        networks_table(chosen)
    if chosen.optimise:
        optimise_table(chosen)


if __name__ == "__main__":
    main()
