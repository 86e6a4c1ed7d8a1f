"""What can be asked for: every option once, the same for Python and the command line, as JSON and back."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import impasto
from impasto.cli.app import app
from impasto.errors import OptionError
from impasto.optimize.presets import OptimizeSettings
from impasto.stylizer.job import Output
from impasto.stylizer.request import OutputOptions, StylizeRequest, finer_settings
from impasto.stylizer.route import route
from impasto.stylizer.styles import Style

# Arguments of `stylize` that no request has.
PHOTO_AND_PLACES = {"force", "photo", "output", "run", "progress", "settings", *OutputOptions.options}


# -- one definition -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StylizeRequest, OutputOptions])
def test_every_option_says_what_it_is_for(kind: type[StylizeRequest | OutputOptions]) -> None:
    for name, option in kind.options.items():
        assert len(option.help) > 15, name
        assert option.group
        assert set(kind.obeyed_by(name)) <= {"network", "optimize"}


def test_python_has_every_option_by_the_same_name() -> None:
    parameters = inspect.signature(impasto.stylize).parameters
    assert set(parameters) - PHOTO_AND_PLACES == set(StylizeRequest.options) - {"settings"}
    assert [name for name in parameters if name not in PHOTO_AND_PLACES] == [
        name for name in StylizeRequest.options if name != "settings"
    ]
    for name in set(parameters) - PHOTO_AND_PLACES:
        assert parameters[name].default is None, name


def test_the_command_line_has_every_option_with_dashes() -> None:
    command = typer.main.get_command(app).commands["stylize"]  # type: ignore[attr-defined]
    there = {flag for parameter in command.params for flag in parameter.opts}
    fields = [*StylizeRequest.options, *OutputOptions.options]
    assert {"--" + name.replace("_", "-") for name in fields if name != "settings"} <= there


def test_settings_of_an_optimisation_are_options_or_finer_ones() -> None:
    fields = set(OptimizeSettings.__dataclass_fields__)
    renamed = {"total_steps", "start"}
    assert finer_settings() == fields - set(StylizeRequest.options) - renamed
    for name in finer_settings():
        assert StylizeRequest.of(style="a.jpg", **{name: 1}).settings == {name: 1}


def test_what_is_not_said_is_not_given() -> None:
    request = StylizeRequest.of(style="a.jpg", strength=0.5, size=None, settings=None)
    assert request.given == ("style", "strength")
    assert request.with_changes(size=9, strength=None).given == ("style", "size", "strength")
    assert request.with_changes(strength=0.1).strength == 0.1


# -- JSON -----------------------------------------------------------------------------------------------------

NAMES = st.text("abc.:-é /", min_size=1, max_size=8)
NUMBERS = st.floats(0.01, 0.99)


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Whatever an option may be that JSON can hold."""
    option = StylizeRequest.options[name]
    if option.choices:
        return st.sampled_from(option.choices)
    special = {
        "style": st.lists(st.builds(Style, NAMES, st.floats(0.01, 9)), min_size=1, max_size=3),
        "mask": st.lists(NAMES, min_size=1, max_size=3),
        "init": NAMES,
        "keep_colors": st.just(True),  # with False, `colors_by` would make no sense
        "style_scale": NUMBERS | st.just("50%"),
        "content_layers": st.dictionaries(NAMES, NUMBERS),
        "style_layers": st.dictionaries(NAMES, NUMBERS),
        "settings": st.fixed_dictionaries({"betas": st.tuples(NUMBERS, NUMBERS), "factor": NUMBERS}),
        "max_memory": st.just("2GB") | st.integers(1, 10**12),
    }
    if name in special:
        return special[name]
    for kind, values in ((bool, st.booleans()), (int, st.integers(1, 999)), (float, NUMBERS), (str, NAMES)):
        if kind in option.kinds:
            return values
    raise AssertionError(name)


REQUESTS = st.fixed_dictionaries({}, optional={name: values_of(name) for name in StylizeRequest.options})


@given(REQUESTS)
def test_a_request_comes_back_from_json(values: dict[str, Any]) -> None:
    request = StylizeRequest.of(**values)
    plain = json.loads(json.dumps(request.to_json()))
    again = StylizeRequest.from_json(plain)
    assert again == request
    assert again.given == request.given
    assert plain["format"] == 1


def test_json_of_another_version_or_of_pictures_in_memory() -> None:
    with pytest.raises(OptionError, match="of format 2, and this version of impasto reads 1"):
        StylizeRequest.from_json({"format": 2, "style": "a"})
    picture = np.zeros((40, 40, 3), np.uint8)
    for options in ({"style": picture}, {"mask": picture}, {"init": picture}):
        with pytest.raises(OptionError, match=r"a picture in memory .* give the path of a file"):
            StylizeRequest.of(**options).to_json()


def test_json_stays_as_it_was_first_written() -> None:
    """Runs, films and archives that were begun with earlier versions go on."""
    request = StylizeRequest.of(
        strength="0.5", size=512.0, style=["night.png:2", Style(Path("wave.png"))], mask=Path("m.png"), init="noise",
        keep_colors="histogram", content_layers="relu1_1:2,relu2_1", betas=[0.5, 0.9], max_megapixels=math.inf,
        lr=1e-05,
    )  # fmt: skip
    assert json.dumps(request.to_json()) == (
        '{"format": 1, "style": [{"style": "night.png", "weight": 2.0}, {"style": "wave.png", "weight": 1.0}], '
        '"size": 512, "strength": 0.5, "mask": ["m.png"], "init": "noise", "keep_colors": true, '
        '"colors_by": "histogram", "max_megapixels": Infinity, "content_layers": {"relu1_1": 2.0, "relu2_1": 1.0}, '
        '"lr": 1e-05, "settings": {"betas": [0.5, 0.9]}}'
    )
    assert OutputOptions.of(png_compression="9").plain() == {
        "jpeg_quality": 92,
        "png_compression": 9,
        "keep_metadata": False,
    }


def test_a_request_is_a_value() -> None:
    """It never changes, is the same as one that says the same, and can be sent to other processes."""
    request = StylizeRequest(style="a.jpg", size="512", settings={"factor": 2.0})
    assert request == StylizeRequest.of(style=["a.jpg"], size=512, factor=2.0) != StylizeRequest.of(style="a.jpg")
    for again in (pickle.loads(pickle.dumps(request)), copy.copy(request), copy.deepcopy(request)):
        assert again == request
        assert again.given == request.given == ("style", "size", "settings")
    assert repr(request) == (
        "StylizeRequest(style=(Style(image='a.jpg', weight=1.0),), size=512, settings={'factor': 2.0})"
    )
    assert len({OutputOptions(jpeg_quality=80), OutputOptions.of(jpeg_quality="80"), OutputOptions()}) == 2
    assert OutputOptions() != request
    with pytest.raises(AttributeError, match="cannot be changed"):
        request.size = 3  # type: ignore[misc]
    with pytest.raises(AttributeError, match="cannot be changed"):
        del request.size
    assert StylizeRequest().settings is not StylizeRequest().settings


def test_a_request_made_directly_is_checked_as_well() -> None:
    assert StylizeRequest(size=None).given == ("size",)
    for options, told in (
        ({"strength": 3}, "`strength` is 3, need a number from 0 to 1"),
        ({"strength": None}, "`strength` is None, need a number from 0 to 1"),
        ({"stile": 3}, r"`stile` is no option \(did you mean 'tile'\?\)"),
    ):
        with pytest.raises(OptionError, match=told):
            StylizeRequest(**options)


def test_a_request_means_the_same_anywhere(folder: Path) -> None:
    request = StylizeRequest.of(style=["night.png:2", "great-wave"], mask="wave.png", init="noise", strength=0.5)
    assert request.anywhere() == StylizeRequest.of(
        style=[Style(str(folder / "night.png"), 2), "great-wave"], mask=str(folder / "wave.png"), init="noise",
        strength=0.5,
    )  # fmt: skip


# -- sentences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"strength": 3}, "`strength` is 3, need a number from 0 to 1"),
        ({"strength": math.nan}, "`strength` is nan, need a number from 0 to 1"),
        ({"style_weight": math.inf}, "`style_weight` is inf, need a number from 0 up"),
        ({"lr": 0}, "`lr` is 0, need a number above 0"),
        ({"averaging": 1}, "`averaging` is 1, need a number from 0 to below 1"),
        ({"steps": 1.5}, "`steps` is 1.5, need a whole number from 1 up"),
        ({"size": -1}, "`size` is -1, need a whole number from 0 up"),
        ({"upscale": "x"}, "`upscale` is 'x', need True or False"),
        ({"quality": "goood"}, "`quality` 'goood' is unknown (did you mean 'good'?): use draft, good or best"),
        ({"pool": 3}, "`pool` is 3, need max, average or l2"),
        ({"model": 3}, "`model` is 3, need a text or a path"),
        ({"keep_colors": np.array([1, 2])}, "`keep_colors` is array([1, 2]), need True or False"),
        ({"keep_colors": "false", "colors_by": "luminance"}, "`colors_by` says how to keep colours"),
        ({"stile_weight": 2}, "`stile_weight` is no option (did you mean 'style_weight'?)"),
        ({"factr": 2}, "`factr` is no option (did you mean 'factor'?)"),
        ({"total_steps": 2}, "`total_steps` is called `steps` here"),
        ({"keep_colors": False, "colors_by": "histogram"}, "`colors_by` says how to keep colours"),
        ({"style": ("a", 0)}, "the weight of a style must be a number above 0, got 0"),
        ({"style": 5}, "`style` is of type int, need a path, PIL image, array, tensor or open file"),
        ({"style": {"a", "b"}}, "`style` is of type set, need a list of pictures, or a dict of pictures with their"),
        ({"style": iter(["a"])}, "`style` is of type list_iterator, need a list of pictures"),
        ({"mask": (name for name in "ab")}, "`mask` is of type generator, need a list of pictures, a mask for each"),
        ({"style": [("a", 1), (True, 1)]}, "`style` is of type bool, need"),
        ({"mask": ["a.png", 5]}, "`mask` is of type int, need"),
        ({"init": 5}, "`init` is of type int, need"),
        ({"jpeg_quality": 80}, "`jpeg_quality` says how a file is written: give it to impasto.stylize, or to"),
        ({"content_layers": 3}, "layers are NAME:WEIGHT,... or a mapping"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        StylizeRequest.of(**options)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [StylizeRequest, OutputOptions])
def test_true_is_no_number(kind: type[StylizeRequest | OutputOptions]) -> None:
    names = []
    for name, option in kind.options.items():
        if {*option.kinds} & {int, float}:
            names.append(name)
            with pytest.raises(OptionError, match=f"^`{name}` is True, need a"):
                kind.of(**{name: True})
    assert names


def test_an_error_carries_the_name_of_its_option() -> None:
    for options, name in (
        ({"strength": 3}, "strength"), ({"stile": 1}, "stile"), ({"quality": "x"}, "quality"),
        ({"content_layers": ["relu1_1"]}, "content_layers"), ({"style_layers": "relu1_1:x"}, "style_layers"),
        ({"style": [{"x": 1}]}, "style"),
    ):  # fmt: skip
        with pytest.raises(OptionError) as caught:
            StylizeRequest.of(**options)
        assert caught.value.option == name
    with pytest.raises(OptionError, match="`jpeg_quality` is 200, need a whole number from 1 to 100"):
        Output("a.jpg", OutputOptions.of(jpeg_quality=200))


@pytest.mark.parametrize("name", [name for name in StylizeRequest.options if name not in ("style", "mask")])
def test_an_option_that_would_be_ignored_is_refused(name: str) -> None:
    """Named with what to do; for networks and for optimisations."""
    value = {
        "init": "noise", "preset": "quick", "quality": "good", "settings": {"factor": 2.0}, "max_memory": "9GB",
        "style_scale": 2, "content_layers": "relu1_1", "style_layers": "relu1_1", "model": "universal",
        "method": "optimize", "colors_by": "histogram",
    }.get(name)  # fmt: skip
    obeyed = StylizeRequest.obeyed_by(name)
    if value is None:
        option = StylizeRequest.options[name]
        value = option.choices[0] if option.choices else {str: "a", float: 0.5}.get(option.kinds[0], 1)
    if "network" not in obeyed:
        said = "factor" if name == "settings" else name
        with pytest.raises(OptionError, match=f"leave out `{said}`"):
            route(StylizeRequest.of(model="universal", style="a.jpg", **{name: value}))
    if "optimize" not in obeyed and name != "model":
        with pytest.raises(OptionError, match=f"`{name}` is for networks"):
            route(StylizeRequest.of(style="a.jpg", method="optimize", **{name: value}))


def test_ways_of_keeping_colours() -> None:
    def kept(**options: Any) -> tuple[bool, str | None]:
        request = StylizeRequest.of(style="a.jpg", **options)
        return request.keep_colors, request.colors_by

    assert kept() == kept(keep_colors=False) == kept(keep_colors="no") == (False, None)
    assert kept(keep_colors=True) == kept(keep_colors="luminance") == (True, None)
    assert kept(keep_colors="histogram") == kept(keep_colors=True, colors_by="histogram") == (True, "histogram")
    for options in ({"keep_colors": True}, {"keep_colors": "luminance"}, {"colors_by": "luminance"}):
        settings = route(StylizeRequest.of(style="a.jpg", method="optimize", **options)).settings
        assert settings is not None
        assert settings.keep_colors == "luminance"
