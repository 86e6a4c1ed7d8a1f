"""Time, peak memory and exactness of large pictures: networks in bands, optimisation by blocks.

    python benchmarks/size.py [--megapixels 1 2 8 33 100] [--budget 2GB] [--optimise 1 2 8] [--precision auto]

Networks are `gallery` and `universal` where they ship, else untrained ones of the same sizes, and with --networks
adain an untrained AdaIN: times and memory do not depend on the weights, differences do. The photo is one of
examples/photos, enlarged as its rows are read, and the painting is kept as bytes in a temporary file, so that peaks are
the painter's own. "at once" is the plain network (naive PyTorch), where that takes less than --naive gigabytes.
Optimisation is one evaluation with gradient of a VGG-19 up to relu5_1 with random weights: at once, and by blocks
within budgets of 4 GB to 2 and 6 GB to 8 megapixels. Every figure comes from a process of its own.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from common import child, machine, parser, peak_memory, show
from impasto.core.memory import reuse_large_blocks
from impasto.core.precision import choose_precision
from impasto.core.vgg import VGG
from impasto.imaging import read
from impasto.methods.adain import AdaIN, AdaINConfig
from impasto.methods.blocks import BlockObjective, layout_for, state_bytes
from impasto.methods.brisk import BriskConfig
from impasto.methods.feedforward import ready
from impasto.methods.files import Network, build, load_model
from impasto.methods.fitting import plan_for
from impasto.methods.objective import Objective
from impasto.methods.planning import Wishes, held_memory, parse_memory
from impasto.methods.presets import preset
from impasto.methods.rows import MapShape, Pool, RowStore
from impasto.methods.shipped import find_model, shipped_models
from impasto.methods.staged import StagedNetwork
from impasto.methods.tiled import paint_staged
from impasto.methods.tiled_adain import paint_adain
from impasto.methods.universal import Universal, UniversalConfig

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
    found = ready(found, choose_precision("cpu", precision))  # type: ignore[arg-type]
    return found.dressed([found.look(photo())]) if isinstance(found, Universal) else found


def walk(found: Network, source: Enlarged, wishes: Wishes, out: RowStore) -> tuple[float, str]:
    """Paint in bands; -> seconds and the plan."""

    def put(top: int, rows: Tensor) -> None:
        out.write(top, rows.clamp(0, 1).mul(255).round_())

    plan = plan_for(found, (source.height, source.width), replace(wishes, held=held_memory()))
    began = time.perf_counter()
    if isinstance(found, AdaIN):
        styles = [found.moments(photo())]
        records = paint_adain(found, source, plan, put, styles)
    else:
        records = paint_staged(found, source, plan, put, mix=mix_of(found))
    for _ in records:
        pass
    return time.perf_counter() - began, str(plan)


def mix_of(found: Network) -> Tensor | None:
    return found.mix(found.styles[0]) if hasattr(found, "styles") else None


@torch.inference_mode()
def paint_case(case: dict[str, Any]) -> dict[str, Any]:
    """One painting; `how` is at-once, exact, sampled, or compare (exact and sampled with at-once)."""
    found, size = network(case["network"], case["precision"]), size_of(case["megapixels"])
    source = Enlarged(photo(), size)
    out = RowStore(MapShape(3, *size, torch.uint8), 0)
    if case["how"] == "at-once":
        began = time.perf_counter()
        out.write(0, whole(found, source.read(0, size[0])).mul(255).round_())
        return {"seconds": time.perf_counter() - began, "peak": peak_memory(), "plan": ""}
    if case["how"] == "compare":
        expected, result = whole(found, source.read(0, size[0])), {}
        for statistics in ("exact", "sampled"):
            walk(found, source, Wishes(statistics=statistics), out)
            apart = (out.read(0, size[0]).float() - expected.mul(255).round()).abs()
            result[statistics] = [float(apart.max()), float(apart.mean())]
        return result
    wishes = Wishes(parse_memory(case["budget"]), statistics=case["how"])
    seconds, plan = walk(found, source, wishes, out)
    return {"seconds": seconds, "peak": peak_memory(), "plan": plan}


def whole(found: Network, image: Tensor) -> Tensor:
    if isinstance(found, AdaIN):
        return found(image, [photo()]).clamp(0, 1)
    assert isinstance(found, StagedNetwork)
    return found.paint(image, mix_of(found)).clamp(0, 1)


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
    show(f"networks within {options.budget}", ("network", "Mpx", "how", "s", "ms/Mpx", "peak MB"), rows)
    rows = []
    for name in options.networks:
        for megapixels in (m for m in options.megapixels if m * 0.35 < options.naive):
            case = {"network": name, "megapixels": megapixels, "precision": options.precision, "how": "compare"}
            rows.extend(
                [name, f"{megapixels:g}", how, f"{largest:.2f}", f"{mean:.3f}"]
                for how, (largest, mean) in run(case).items()
            )
    show("difference to the plain network, in 1/255", ("network", "Mpx", "statistics", "largest", "mean"), rows)


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
    return [name, f"{megapixels:g}", how, f"{found['seconds']:.2f}", f"{per:.0f}", f"{found['peak']:.0f}"]


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
