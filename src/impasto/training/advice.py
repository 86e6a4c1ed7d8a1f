"""What to turn when a training does not come out well, in two lines."""

from __future__ import annotations

from pathlib import Path

from impasto.training.settings import AdaINSettings, MultiStyleSettings, TrainSettings, UniversalSettings

__all__ = ["advice"]


def advice(settings: TrainSettings, out: Path) -> tuple[str, str]:
    """Where to look while `settings` are trained in the folder `out`, and which options to change if it looks wrong."""
    if isinstance(settings, MultiStyleSettings | UniversalSettings) and settings.teacher:
        return (
            f"Look at {out / 'samples'} meanwhile. Strokes soft: more `steps` or a larger network, and then some steps "
            "that begin with this one, without the teacher.",
            f"Blots, stripes or grey after some hundred steps: lower `lr` (now {settings.lr:g}).",
        )
    style, content = _knobs(settings)
    return (
        f"Look at {out / 'samples'} meanwhile. Photo lost: {content}. Style too faint: {style}, or more `steps`.",
        f"Blots, stripes or grey after some hundred steps: lower `lr` (now {settings.lr:g}).",
    )


def _knobs(settings: TrainSettings) -> tuple[str, str]:
    """What brings more style, and what keeps more of the photo."""
    weights = settings.weights
    if weights.relative:
        return "raise it", f"lower `style_balance` (now {weights.style:g})"
    if isinstance(settings, AdaINSettings) and settings.content_weight is None:
        return "raise it", f"lower `style_weight` (now {weights.style:g})"
    return f"raise `style_weight` (now {weights.style:g})", f"raise `content_weight` (now {weights.content:g})"
