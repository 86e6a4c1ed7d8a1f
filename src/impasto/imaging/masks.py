"""What is odd about a mask: a sentence for a front end to say where it does less, or more, than was surely meant."""

from __future__ import annotations

from impasto.imaging.colour import luminance
from impasto.imaging.picture import Picture

__all__ = ["mask_note"]

FAINT = 0.1  # of white: no more than this is a mask whose white was written as 1, not as grey
LITTLE = 0.002  # share of the picture that is next to nothing


def mask_note(mask: Picture) -> str | None:
    """What was found and what to do, in one sentence; None for a mask as masks are.

    A mask paints where it is white and opaque. Odd are one that is black nearly everywhere, one whose white is nearly
    black (0 and 1 instead of 0 and 255), and one of a single colour, whose shape can only lie in its transparency.
    """
    light = luminance(mask.rgb).clip(0, 1)
    shown = light if mask.alpha is None else light * mask.alpha
    darkest, brightest, share = float(light.min()), float(light.max()), float(shown.mean())
    cut_out = mask.alpha is not None and float(mask.alpha.min()) < 0.5 < float(mask.alpha.max())
    top = 2**mask.bits - 1
    if brightest == 0:
        if cut_out:
            said = "black everywhere, with its shape in the transparency: nothing is painted; make the shape white"
        else:
            said = "black everywhere: nothing is painted; make it white where there is to be style"
    elif brightest <= FAINT:
        said = f"its brightest value is {round(brightest * top)} of {top}: next to nothing is painted; make white {top}"
    elif darkest > 1 - 0.5 / 255:
        if cut_out:
            said = f"white everywhere, so its transparency tells: {share:.1%} are painted, where it is opaque; "
            said += "invert it if the rest was meant"
        else:
            said = "white everywhere: all of the picture is painted, as without a mask"
    elif share < LITTLE:
        said = f"white is {share:.2%} of it: next to nothing is painted; invert it if black was to be painted"
    else:
        return None
    return f"mask {mask.name}: {said}"
