"""Building `compact` and `compact-vgg19`: a VGG whose 3x3 convolutions are factored, with the features of the full one.

Each C -> C' convolution becomes a 3x3 to r channels and a 1x1 to C', by reduced-rank regression of the full
network's responses on those of the compressed network, layer after layer (Zhang et al. 2015,
arXiv:1505.06798, sections 3.1 and 3.3: "asymmetric" reconstruction). A short fine-tuning against the full
network's features and Gram matrices follows, on crops, and on pictures half-way through being painted: those
are what an optimiser will show the network, and what it would otherwise learn to exploit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.core.backbones import place_of
from impasto.core.host import in_our_settings
from impasto.core.memory import reuse_large_blocks
from impasto.core.metadata import record, save
from impasto.core.precision import Precision, choose_precision, in_float64
from impasto.core.resizing import resize
from impasto.core.statistics import gram
from impasto.core.tensors import to_tensor
from impasto.core.vgg import NORMALISATIONS, VGG, WIDTHS, FactoredConv2d
from impasto.core.weights import load_backbone
from impasto.errors import DataError, nearest
from impasto.fields import is_a, needed
from impasto.files import sha256
from impasto.imaging import fit_long_side, read
from impasto.training.recipe import read_toml
from impasto.types import BackboneInput

__all__ = [
    "CompressProgress",
    "CompressRecipe",
    "CompressSettings",
    "compress",
    "layer_errors",
    "read_recipe",
    "run_recipe",
]

LOOKED_AT = 48  # crops, to see how large activations are
STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@dataclass(frozen=True, kw_only=True)
class CompressSettings:
    """What the recipe says. Counts are pictures, sizes px; rates are Adam's."""

    last: str = "conv5_1"
    megabytes: float = 5.9  # of the float16 file
    rank_step: int = 16  # ranks are multiples of it: matrix units want full tiles
    crops: int = 240
    crop_size: int = 160
    finetune_steps: int = 300
    finetune_batch: int = 4
    finetune_size: int = 192
    learning_rate: float = 2e-5
    gram_weight: float = 0.3
    painted: int = 20  # pictures half-way through optimisation among the samples
    painted_steps: int = 16
    seed: int = 0


@dataclass(frozen=True)
class CompressProgress:
    """One step done: the stage, how far, and what was measured."""

    stage: str
    step: int
    steps: int
    message: str


@in_our_settings
def compress(
    teacher: VGG,
    photos: Sequence[Path],
    paintings: Sequence[Path],
    settings: CompressSettings,
    precision: Precision,
    name: str = "compact",
) -> Iterator[CompressProgress | VGG]:
    """Yield progress records and, last, the compressed network in float32.

    `teacher` must be frozen, float32, without input normalisation of its own being lost: the student takes it
    over. Same pictures, settings, thread count and machine give the same network, bit for bit.
    DataError if there are no pictures.
    """
    if not photos or not paintings:
        raise DataError(f"compression needs photos and paintings, got {len(photos)} and {len(paintings)}")
    generator = torch.Generator().manual_seed(settings.seed)
    crops = torch.cat(list(_crops([*photos, *paintings], settings.crops, settings.crop_size, generator)))
    ranks = choose_ranks(spectra(teacher, crops, settings.last), settings)
    student = VGG(
        teacher.topology.name,
        teacher.normalisation,
        padding=teacher.padding,
        last=settings.last,
        ranks=ranks,
        name=name,
    )
    yield CompressProgress("ranks", 1, 1, ", ".join(f"{conv} {rank}" for conv, rank in ranks.items()))
    yield from factor(teacher, student, crops)
    del crops
    yield from finetune(teacher, student, photos, paintings, settings, precision, generator)
    yield student


def _crops(paths: Sequence[Path], count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`count` random square crops (1, 3, size, size), each from a picture shrunk by a random factor."""
    order = torch.randperm(len(paths), generator=generator)
    for i in range(count):
        image = to_tensor(read(paths[int(order[i % len(paths)])]).seen())
        h, w = image.shape[2:]
        shrink = torch.rand((), generator=generator).item()
        long = max(h, w) * max((size + 1) / min(h, w), math.exp(math.log(0.5) * shrink))
        image = resize(image, fit_long_side((h, w), math.ceil(long), upscale=True))
        top = int(torch.randint(image.shape[2] - size + 1, (), generator=generator))
        left = int(torch.randint(image.shape[3] - size + 1, (), generator=generator))
        yield image[..., top : top + size, left : left + size]


def _convolve(network: VGG, name: str, x: Tensor) -> Tensor:
    """One convolution of a network, without its ReLU, a few pictures at a time."""
    if name == "conv1_1":
        x = network.normalisation(x)
        if network.padding == "replicate":
            x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    module = network.get_submodule(name)
    parts = (module.reduce, module.expand) if isinstance(module, FactoredConv2d) else (module,)
    out = []
    for chunk in torch.split(x, 8):
        for part in parts:
            chunk = part(chunk)
        out.append(chunk)
    return torch.cat(out)


def _layerwise(network: VGG, last: str) -> Iterable[tuple[str, bool]]:
    """(convolution, whether a pool stands before it) up to `last`."""
    names = network.convolutions[: network.convolutions.index(last) + 1]
    return [(name, name.endswith("_1") and name != "conv1_1") for name in names]


@in_our_settings
@torch.no_grad()
def with_unit_activations(network: VGG, images: Tensor, last: str) -> VGG:
    """A copy, up to `last`, whose activations have a mean of 1 over `images` (B, 3, H, W), layer by layer.

    Relative losses see in it what they see in the network itself: ReLUs and pools pass a positive factor on.
    DataError where a layer has a mean of 0.
    """
    twin = _copy(network, Precision(torch.float32, channels_last=False, reason="as it is"), last=last)
    x, scale = images, 1.0
    for name, pooled in _layerwise(twin, last):
        kernels = list(twin.kernels(name))
        for kernel in kernels:
            kernel.bias.mul_(scale)  # what comes in is so much larger than it was
        x = F.relu_(_convolve(twin, name, F.max_pool2d(x, 2) if pooled else x))
        mean = float(x.mean())
        if not (mean > 0 and math.isfinite(mean)):
            raise DataError(f"{network.name}: the mean activation of {name} is {mean}, need a number above 0")
        for values in (kernels[-1].weight, kernels[-1].bias, x):
            values.div_(mean)
        scale /= mean
    return twin


def _columns(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (at most 240,000 positions, C) in float64, evenly sampled."""
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    return in_float64(rows[:: max(1, len(rows) // 120_000)])


@torch.no_grad()
def spectra(teacher: VGG, crops: Tensor, last: str) -> dict[str, Tensor]:
    """Eigenvalues, descending, of the covariance of every convolution's responses: name -> (C,)."""
    values, x = {}, crops
    for name, pooled in _layerwise(teacher, last):
        x = _convolve(teacher, name, F.max_pool2d(x, 2) if pooled else x)
        values[name] = torch.linalg.eigvalsh(_columns(x).T.cov()).flip(0).clamp_min(0)
        x = F.relu_(x)
    return values


def choose_ranks(values: dict[str, Tensor], settings: CompressSettings) -> dict[str, int]:
    """Spend the file's bytes where they explain most: name -> rank, for every convolution but the first.

    Every layer starts at `rank_step`, or at its full rank if that is less; the next step always goes to the layer
    whose unexplained share of variance falls most, relative to what is left of it, for its price, until the budget
    is spent. The price is the share of the full network's parameters plus that of its arithmetic. DataError if
    even the start is too dear.
    """
    step, names = settings.rank_step, [n for n in values if n != "conv1_1"]
    width_in = dict(zip(values, [3, *[len(v) for v in values.values()]], strict=False))
    unit = {n: 9 * width_in[n] + len(values[n]) for n in names}  # parameters per rank
    area = {n: 4.0 ** -(place_of(n)[0] - 1) for n in names}
    all_parameters = sum(unit[n] * len(values[n]) for n in names)
    all_work = sum(unit[n] * area[n] * len(values[n]) for n in names)
    ranks = {n: min(step, len(values[n])) for n in names}
    budget = settings.megabytes * 1e6 / 2 - WIDTHS[0] * 28 - sum(len(values[n]) for n in names)
    if sum((unit[n] + 1) * ranks[n] for n in names) > budget:
        raise DataError(
            f"megabytes {settings.megabytes} is too little for ranks of {step}: allow more, or lower rank_step"
        )
    while True:
        spent = sum((unit[n] + 1) * ranks[n] for n in names)

        def gain(n: str) -> float:
            left, after = values[n][ranks[n] :].sum(), values[n][ranks[n] + step :].sum()
            price = unit[n] / all_parameters + unit[n] * area[n] / all_work
            return math.sqrt(float((left - after) / values[n].sum())) / price

        affordable = [n for n in names if ranks[n] + step < len(values[n]) and spent + (unit[n] + 1) * step <= budget]
        if not affordable:
            return ranks
        best = max(affordable, key=gain)
        ranks[best] += step


@torch.no_grad()
def factor(teacher: VGG, student: VGG, crops: Tensor) -> Iterator[CompressProgress]:
    """Set the student's weights by reduced-rank regression; yields the relative error of each layer."""
    full = mine = crops
    layers = list(_layerwise(student, student.convolutions[-1]))
    for i, (name, pooled) in enumerate(layers, start=1):
        if pooled:
            full, mine = F.max_pool2d(full, 2), F.max_pool2d(mine, 2)
        original, module = teacher.get_submodule(name), student.get_submodule(name)
        target, response = _convolve(teacher, name, full), _convolve(teacher, name, mine)
        if isinstance(module, FactoredConv2d) and isinstance(original, nn.Conv2d):
            _factor_one(original, module, _columns(response), _columns(target))
            response = _convolve(student, name, mine)
        else:
            module.load_state_dict(original.state_dict())
        full, mine = F.relu_(target), F.relu_(response)
        error = float((full - mine).norm() / full.norm())
        yield CompressProgress("regression", i, len(layers), f"{name} relative error {error:.3f}")


def _factor_one(original: nn.Conv2d, module: FactoredConv2d, response: Tensor, target: Tensor) -> None:
    """Reduced-rank regression target ~ response·m·v·vᵀ, v the best-explained directions of the target."""
    mean_r, mean_t = response.mean(0), target.mean(0)
    a, t = response - mean_r, target - mean_t
    cov = a.T @ a
    ridge = torch.eye(len(cov), dtype=cov.dtype) * cov.diagonal().mean() * 1e-4
    m = torch.linalg.solve(cov + ridge, a.T @ t)
    explained = m.T @ (a.T @ t)
    v = torch.linalg.eigh((explained + explained.T) / 2)[1][:, -module.reduce.out_channels :]
    project = (m @ v).T.float()
    bias = original.bias if original.bias is not None else torch.zeros(original.out_channels)
    # Rank-r responses may have any scale; unit variance keeps float16 and Adam equally happy with all of them.
    scale = (a @ (m @ v)).std(0).float().clamp_min(1e-6)
    module.reduce.weight.copy_(torch.einsum("ro,oikl->rikl", project, original.weight) / scale[:, None, None, None])
    _bias(module.reduce).copy_(project @ bias / scale)
    module.expand.weight.copy_((v.float() * scale)[:, :, None, None])
    _bias(module.expand).copy_((mean_t - mean_r @ m @ v @ v.T).float())


def _bias(conv: nn.Conv2d) -> Tensor:
    """The bias, for the type checker's sake: every convolution here has one."""
    if conv.bias is None:
        raise TypeError("a convolution of a VGG has a bias")
    return conv.bias


def finetune(
    teacher: VGG,
    student: VGG,
    photos: Sequence[Path],
    paintings: Sequence[Path],
    settings: CompressSettings,
    precision: Precision,
    generator: torch.Generator,
) -> Iterator[CompressProgress]:
    """Adam on the student's weights against the teacher's features and Gram matrices, at every tap."""
    if not settings.finetune_steps:
        return
    size, batch = settings.finetune_size, settings.finetune_batch
    taps = [tap for tap in student.taps if tap.startswith("relu")]
    frozen_teacher = _copy(teacher, precision)
    optimiser = torch.optim.Adam(student.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, settings.finetune_steps, pct_start=0.05
    )
    crops = _crops([*photos, *paintings], 10**9, size, generator)
    painted: list[Tensor] = []
    repaint_every = max(1, settings.finetune_steps // (settings.painted + 1))
    for step in range(1, settings.finetune_steps + 1):
        if len(painted) < settings.painted and step % repaint_every == 0:
            painted += _half_painted(student, photos, paintings, settings, precision, generator)
        images = [next(crops) for _ in range(batch - 1 if painted else batch)]
        if painted:
            images.append(painted[int(torch.randint(len(painted), (), generator=generator))])
        x = torch.cat(images)
        with torch.no_grad():
            wanted = frozen_teacher(x, taps)
        with torch.autocast(x.device.type, precision.dtype, enabled=precision.dtype == torch.bfloat16):
            got = student(x, taps)
        feature, style = _mismatch(got, wanted)
        optimiser.zero_grad()
        torch.autograd.backward(feature + settings.gram_weight * style)
        optimiser.step()
        schedule.step()
        yield CompressProgress(
            "fine-tuning", step, settings.finetune_steps, f"features {feature.item():.4f}, Gram {style.item():.4f}"
        )


def _mismatch(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean over taps of the relative squared error of features and of Gram matrices, two scalars."""
    feature, style = [], []
    for tap, target in wanted.items():
        f, t = got[tap].float(), target.float()
        feature.append((f - t).square().mean() / t.square().mean())
        g, gt = gram(got[tap]), gram(target)
        style.append(((g - gt).square().sum((1, 2)) / gt.square().sum((1, 2))).mean())
    return torch.stack(feature).mean(), torch.stack(style).mean()


def _half_painted(
    student: VGG,
    photos: Sequence[Path],
    paintings: Sequence[Path],
    settings: CompressSettings,
    precision: Precision,
    generator: torch.Generator,
) -> list[Tensor]:
    """A few pictures on the way from a photo, or from noise, to a painting's statistics, on the student itself."""
    network = _copy(student, precision)
    photo = next(_crops([_pick(photos, generator)], 1, settings.finetune_size, generator))
    style = next(_crops([_pick(paintings, generator)], 1, settings.finetune_size, generator))
    from_noise = torch.rand((), generator=generator).item() < 0.25
    x = torch.rand(photo.shape, generator=generator) if from_noise else photo.clone()
    taps = [tap for tap in STYLE_TAPS if tap in network.taps]
    with torch.no_grad():
        target = {tap: gram(f) for tap, f in network(style, taps).items()}
    x.requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.02)
    fewest = min(4, settings.painted_steps)
    stop = int(torch.randint(fewest, settings.painted_steps + 1, (), generator=generator))
    for _ in range(stop):
        loss = torch.zeros(())
        for tap, f in network(x, taps).items():
            loss = loss + (gram(f) - target[tap]).square().sum() / target[tap].square().sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return [x.detach()]


def _pick(paths: Sequence[Path], generator: torch.Generator) -> Path:
    return paths[int(torch.randint(len(paths), (), generator=generator))]


def _copy(network: VGG, precision: Precision, *, last: str | None = None) -> VGG:
    """A frozen copy in the precision of the work, up to a convolution or whole."""
    ranks = {
        name: module.reduce.out_channels
        for name, module in network.named_children()
        if isinstance(module, FactoredConv2d)
    }
    twin = VGG(
        network.topology.name,
        network.normalisation,
        padding=network.padding,
        last=last or network.convolutions[-1],
        ranks=ranks,
        name=network.name,
    )
    state = network.state_dict()
    twin.load_state_dict({key: state[key] for key in twin.state_dict()})
    twin.requires_grad_(False)
    return twin.to(dtype=precision.dtype).to(memory_format=precision.memory_format)  # type: ignore[call-overload,no-any-return]


@in_our_settings
@torch.no_grad()
def layer_errors(teacher: VGG, student: VGG, images: Sequence[Tensor]) -> dict[str, dict[str, float]]:
    """Relative error of features (norm) and of Gram matrices (squared) at every ReLU, means over `images`."""
    taps = [tap for tap in student.taps if tap.startswith("relu")]
    totals: dict[str, dict[str, float]] = {tap: {"features": 0.0, "gram": 0.0} for tap in taps}
    for image in images:
        wanted, got = teacher(image, taps), student(image, taps)
        for tap in taps:
            g, t = gram(got[tap]), gram(wanted[tap])
            features = float((got[tap] - wanted[tap]).norm() / wanted[tap].norm())
            totals[tap]["features"] += features / len(images)
            totals[tap]["gram"] += float((g - t).square().sum() / t.square().sum()) / len(images)
    return totals


@dataclass(frozen=True)
class CompressRecipe:
    """A recipe file, its paths resolved against its own folder.

    Attributes:
        output, teacher, photos, paintings: files and folders.
        every: of so many pictures one is made use of, the others judge.
        threads: sums depend on how they are divided.
        licence, origin: of the result, as its file tells them.
        settings: see `CompressSettings`.
        name: of the result.
        teacher_input: what the teacher wants as input, if its file does not tell.
        unit_activations: whether the teacher's layers are rescaled first, each to a mean activation of 1. Caffe's go up
            to thousands, which float16 cannot hold.
    """

    output: Path
    teacher: Path
    photos: Path
    paintings: Path
    every: int
    threads: int
    licence: str
    origin: str
    settings: CompressSettings
    name: str = "compact"
    teacher_input: BackboneInput | None = None
    unit_activations: bool = False


def read_recipe(path: Path) -> CompressRecipe:
    """Read a TOML recipe. DataError names what is missing, unknown or unreadable."""
    found = read_toml(path, "a recipe")
    for kind, values in ((CompressRecipe, found), (CompressSettings, found.get("settings", {}))):
        known = {f.name for f in fields(kind)}
        if unknown := sorted(values.keys() - known):
            near = nearest(unknown[0], known)
            raise DataError(f"{path}: unknown key {unknown[0]!r}{near}; the keys are {', '.join(sorted(known))}")
    if missing := [f.name for f in fields(CompressRecipe) if f.default is MISSING and f.name not in found]:
        raise DataError(f"{path}: the key {missing[0]!r} is missing")
    _check_kinds(path, CompressRecipe, found)
    _check_kinds(path, CompressSettings, found["settings"])
    if found["every"] < 2:
        raise DataError(
            f"{path}: every must be at least 2, so that pictures are left to judge by, got {found['every']}"
        )
    places = {name: (path.parent / found[name]).resolve() for name in ("output", "teacher", "photos", "paintings")}
    return CompressRecipe(**{**found, **places, "settings": CompressSettings(**found["settings"])})


def _check_kinds(path: Path, kind: type, values: Mapping[str, object]) -> None:
    """DataError for a value that is not what its field says."""
    for name, wanted in get_type_hints(kind).items():
        if name not in values or wanted is CompressSettings:
            continue
        in_toml = str if wanted is Path else wanted
        if not is_a(values[name], in_toml):
            raise DataError(f"{path}: {name} is {values[name]!r}, need {needed(in_toml).lower()}")


@in_our_settings
def run_recipe(recipe: CompressRecipe, output: Path) -> Iterator[CompressProgress]:
    """Build the network, measure it on pictures it was not made from, and write it.

    In the recipe's own place it is entered in the manifest beside it.
    """
    reuse_large_blocks()
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)  # sums depend on how they are divided
    try:
        teacher = load_backbone(recipe.teacher, input=recipe.teacher_input, padding="replicate")
        photos, held_photos = _split(recipe.photos, recipe.every)
        paintings, held_paintings = _split(recipe.paintings, recipe.every)
        settings, student = recipe.settings, None
        if settings.last not in teacher.convolutions:
            near = nearest(settings.last, teacher.convolutions)
            raise DataError(f"`last` {settings.last!r} is unknown{near}: use {', '.join(teacher.convolutions[1:])}")
        if recipe.unit_activations:
            generator = torch.Generator().manual_seed(settings.seed)
            crops = torch.cat(list(_crops([*photos, *paintings], LOOKED_AT, settings.crop_size, generator)))
            teacher = with_unit_activations(teacher, crops, settings.last)
        for step in compress(teacher, photos, paintings, settings, choose_precision("cpu"), recipe.name):
            if isinstance(step, VGG):
                student = step
            else:
                yield step
        if student is None:
            raise DataError(f"{recipe.teacher}: could not be compressed")
        yield _store(recipe, output, teacher, student, [*held_photos[:20], *held_paintings[:20]])
    finally:
        torch.set_num_threads(threads)


def _store(
    recipe: CompressRecipe, output: Path, teacher: VGG, student: VGG, judges: Sequence[Path]
) -> CompressProgress:
    tensors = {key: value.detach().half().contiguous() for key, value in student.state_dict().items()}
    student.load_state_dict({key: value.float() for key, value in tensors.items()})  # as it will be read
    pictures = [to_tensor(read(path).seen()) for path in judges]
    pictures = [resize(x, fit_long_side((x.shape[2], x.shape[3]), 384)) for x in pictures]
    errors = layer_errors(teacher, student, pictures)
    if not all(math.isfinite(value) for row in errors.values() for value in row.values()):
        told = "compressed, and kept in float16, its features are no finite numbers: its activations are too large"
        raise DataError(f"{recipe.teacher}: {told}")
    metadata = {
        "kind": "backbone",
        "name": student.name,
        "topology": student.topology.name,
        "normalisation": next(name for name, n in NORMALISATIONS.items() if n == student.normalisation),
        "padding": student.padding,
        "licence": recipe.licence,
        "origin": recipe.origin,
        "teacher_sha256": sha256(recipe.teacher),
        "recipe": {"every": recipe.every, "threads": recipe.threads, **asdict(recipe.settings)}
        | ({"unit_activations": True} if recipe.unit_activations else {}),
        "errors": {tap: {key: round(value, 5) for key, value in row.items()} for tap, row in errors.items()},
    }
    save(output, tensors, metadata)
    if output.resolve() == recipe.output:  # elsewhere there is no manifest that it belongs to
        record(output)
    size = output.stat().st_size / 1e6
    deepest = student.taps[-1]
    text = f"{size:.2f} MB; on pictures held out, {deepest} differs by {errors[deepest]['features']:.3f}"
    return CompressProgress("written", 1, 1, text)


def _split(folder: Path, every: int) -> tuple[list[Path], list[Path]]:
    """Every `every`-th picture of a folder, and the others."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, need one of pictures (.jpg, .png)")
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise DataError(f"{folder}: holds no pictures (.jpg, .png)")
    return paths[::every], [path for i, path in enumerate(paths) if i % every]
