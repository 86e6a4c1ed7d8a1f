"""Models and backbones loaded once, shared by all jobs and threads, within one budget of memory."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from impasto.core.host import in_our_settings
from impasto.core.memory import parse_memory, reuse_large_blocks
from impasto.errors import MissingExtraError, OptionError, WeightsError, check_kind, told
from impasto.files import at_home, sha256
from impasto.light.graphs import graph_of, is_foreign
from impasto.stylizer.budget import MemoryBudget
from impasto.stylizer.choice import TORCH_TAKES, Choice, has_torch
from impasto.stylizer.job import Job, Output, check_request
from impasto.stylizer.model import Model
from impasto.stylizer.request import EngineName, StylizeRequest
from impasto.stylizer.route import route
from impasto.stylizer.streams import check_one, read_once, read_streams, refuse_streams
from impasto.types import BackboneInput, PrecisionName

if TYPE_CHECKING:
    from impasto.core.vgg import VGG
    from impasto.light.model import LightModel
    from impasto.optimize.presets import OptimizeSettings
    from impasto.stylizer.torch_model import TorchModel
    from impasto.types import PictureSource

__all__ = ["Engine", "as_light", "as_torch", "default_engine"]

LEAST = 1_000_000  # bytes: what is less was meant in another unit
KEPT = 6  # models, and as many backbones
T = TypeVar("T")


class Engine:
    """Makes a `Job` of a photo and a request, and keeps what jobs share: models, memory. Threads may share it.

    Args:
        max_memory: what the process may need at most, such as ``"2GB"`` or a number of bytes, for all jobs together;
            a request may ask for less. None is what is free.
        at_once: how many jobs compute at the same time; each uses all threads there are.

    Attributes:
        pictures: how many are to be painted, as far as that is known: for few of them torch is not worth its start.
    """

    def __init__(self, *, max_memory: str | int | None = None, at_once: int = 2) -> None:
        if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
            raise OptionError(f"`at_once` must be a whole number from 1 up, got {told(at_once)}", "at_once")
        reuse_large_blocks()
        self.max_memory = _limit(max_memory)
        self.budget = MemoryBudget()
        self.pictures = 1
        self._turns = threading.BoundedSemaphore(at_once)
        self._models: _Loaded[TorchModel] = _Loaded()
        self._light_models: _Loaded[LightModel] = _Loaded()
        self._backbones: _Loaded[VGG] = _Loaded()
        self._hashes: _Loaded[str] = _Loaded()
        self._chosen: dict[str, Literal["light", "torch"]] = {}
        self._choosing = threading.Lock()

    @in_our_settings
    def job(
        self,
        photo: PictureSource,
        request: StylizeRequest,
        *,
        output: Output | None = None,
        model: Model | None = None,
        folder: Path | None = None,
        frame: bool = False,
    ) -> Job:
        """The job that paints this photo as the request says.

        Args:
            photo: a path, PIL image, array or tensor; what can be read but once is read now, as of the request's.
            request: what is asked for.
            output: where the painting goes; a photo too large for memory needs one.
            model: the network that paints, if it is loaded already.
            folder: where unfinished work is kept, see `recorder`.
            frame: whether it is one of a film, which a network paints at one size.

        Raises:
            ImpastoError: whatever can be known to be wrong before anything is painted.
        """
        check_request(request, output)
        if model is not None:
            check_kind("model", model, Model, "what `impasto.load` gives: a name goes into the request")
        check_kind("folder", folder, (Path, NoneType), "a pathlib.Path")
        if folder is not None:
            refuse_streams(photo, request)
        check_one([photo, *request.file_names])
        request = read_streams(request)
        photo = read_once(photo, request.max_megapixels)
        if not request.style and request.model is None:
            raise OptionError("at least one `style` is needed: a name of the gallery, or a picture")
        found = route(request, keeps_run=folder is not None)
        if found.settings is not None:
            _need_torch("painting by optimisation")
            from impasto.stylizer.optimize_job import OptimizeJob

            return OptimizeJob(self, photo, request, found.settings, found.beginning, output)
        name = found.model or ""
        if model is None:
            choice = Choice.of(request, name, keeps_run=folder is not None)
            computes_in: EngineName = self._engine(choice, name, photo)
            if computes_in == "torch" and choice.foreign and not self._rebuilds(name, request, choice):
                computes_in = "light"
        else:
            computes_in = model.computes_in
        if computes_in == "light":
            from impasto.light.job import LightJob

            light = self.light_model(name) if model is None else as_light(model)
            light.check(request)
            job = LightJob(self, photo, request, light, output, frame=frame)
            others = is_foreign(os.fspath(name))  # whatever could be rebuilt in torch is there already
            if model is not None or request.engine == "light" or not has_torch() or others or job.fits():
                return job
            elsewhere = job.enough
            if self._is_less_than_torch(request, elsewhere):
                return job
            job.close()
            return self._by_torch(photo, request, name, model, output, folder, frame, elsewhere)
        return self._by_torch(photo, request, name, model, output, folder, frame)

    def _is_less_than_torch(self, request: StylizeRequest, need: int = 0) -> bool:
        """Whether what the process may need, and what it would need without torch, is less than torch alone takes."""
        limit = self.limit(request)
        return limit is not None and "torch" not in sys.modules and max(limit, need) < TORCH_TAKES

    def _engine(self, choice: Choice, name: str | PathLike[str], photo: PictureSource) -> EngineName:
        """What a network runs in.

        Where both could and speed decides, the first choice for it stays, or the same request would come out up to
        1/255 different once something else has loaded torch.
        """
        if not choice.is_open:
            return choice.engine(photo, self.pictures)
        if self._is_less_than_torch(choice.request):
            return "light"
        with self._choosing:
            key = str(name)
            if key not in self._chosen:
                self._chosen[key] = choice.engine(photo, self.pictures)
            return self._chosen[key]

    def _by_torch(
        self,
        photo: PictureSource,
        request: StylizeRequest,
        name: str | PathLike[str],
        model: Model | None,
        output: Output | None,
        folder: Path | None,
        frame: bool,
        elsewhere: int | None = None,
    ) -> Job:
        from impasto.stylizer.network_job import NetworkJob
        from impasto.stylizer.strip_job import StripJob, needs_strips

        paints = (
            self.torch_model(name, device=request.device, precision=request.precision)
            if model is None
            else as_torch(model)
        )
        paints.check(request)
        if output is not None and (folder is not None or needs_strips(paints, photo, request, self.limit(request))):
            return StripJob(self, photo, request, paints, output, folder, elsewhere)
        job = NetworkJob(self, photo, request, paints, output, frame=frame)
        job.elsewhere = elsewhere
        return job

    def model(
        self,
        name: str | PathLike[str],
        *,
        device: str = "auto",
        precision: PrecisionName = "auto",
        engine: EngineName = "auto",
    ) -> Model:
        """A trained network ready to paint, loaded once: one that ships, by name, or a file.

        Args:
            name: of the package's, or a file of `impasto train` or `impasto export onnx`.
            device, precision: of torch.
            engine: ``torch``, ``light``, or ``auto``: torch, where it is installed and can read the file.

        Raises:
            WeightsError: no such name or file, or one that is damaged.
            OptionError: this machine has no such device or precision, or the engine cannot read the file.
        """
        if name is not None:
            check_kind("model", name, (str, PathLike), "a name of the package's networks, or a file")
        request = StylizeRequest.of(model=name, device=device, precision=precision, engine=engine)
        if request.model is None:
            raise OptionError("`model` is None: give a name of the package's networks, or a file", "model")
        choice = Choice.of(request, name)
        alone = engine != "torch" and not has_torch() and choice.why_not_light is None
        light = engine == "light" or choice.only_light or alone
        if light or (choice.foreign and not self._rebuilds(name, request, choice)):
            choice.check(engine)
            return self.light_model(name)
        return self.torch_model(name, device=device, precision=precision)

    def _rebuilds(self, name: str | PathLike[str], request: StylizeRequest, choice: Choice) -> bool:
        """Whether somebody else's graph can be rebuilt in torch, if onnxruntime can do what is asked for instead."""
        try:
            self.torch_model(name, device=request.device, precision=request.precision)
        except (WeightsError, MissingExtraError) as error:
            if request.engine == "torch":
                raise
            if choice.why_not_light is not None:
                told = f"{error}; and onnxruntime, which could run it as it is, {choice.why_not_light}"
                raise OptionError(told) from error
            return False
        return True

    def light_model(self, name: str | PathLike[str]) -> LightModel:
        """A network for onnxruntime, loaded once; errors as of `light.graphs.Graph`."""
        from impasto.light.model import LightModel

        path = graph_of(str(name))
        if path is None or not path.is_file():
            raise WeightsError(f"no graph is called {str(name)!r}: give a file that `impasto export onnx` wrote")
        found = path.stat()
        key = (str(path.resolve()), found.st_size, found.st_mtime_ns)
        return self._light_models.get(key, partial(LightModel, self, str(name), path))

    @in_our_settings
    def torch_model(
        self, name: str | PathLike[str], *, device: str = "auto", precision: PrecisionName = "auto"
    ) -> TorchModel:
        """A network for torch, loaded once; errors as of `model`."""
        from impasto.networks.shipped import find_model

        path = find_model(name)
        _need_torch(f"{name}: a network in this form")
        from impasto.core.precision import choose_precision, pick_device
        from impasto.networks.checkpoint import load_model
        from impasto.networks.inference import choose_for, ready
        from impasto.stylizer.torch_model import TorchModel

        where = pick_device(device)
        chosen = choose_precision(where, precision)
        found = path.stat()
        key = (str(name), str(path.resolve()), found.st_size, found.st_mtime_ns, str(where), chosen.dtype)

        def read() -> TorchModel:
            network, description = load_model(path)
            fit = choose_for(network, where, precision)
            return TorchModel(self, ready(network, fit, where), description, str(name), path, where, fit)

        return self._models.get(key, read)

    @in_our_settings
    def backbone(
        self,
        settings: OptimizeSettings,
        *,
        input: BackboneInput | None,  # noqa: A002
        device: str,
        precision: PrecisionName,
    ) -> VGG:
        """The network that sees, loaded once; errors as of `load_backbone`."""
        from impasto.core.precision import choose_precision, pick_device
        from impasto.core.weights import load_backbone

        where = pick_device(device)
        chosen = choose_precision(where, precision)
        file = Path(settings.backbone)
        changed = file.stat().st_mtime_ns if file.is_file() else None
        key = (settings.backbone, changed, input, settings.pool, settings.rescale_pool, str(where), chosen.dtype)

        def read() -> VGG:
            return load_backbone(
                settings.backbone,
                input=input,
                pool=settings.pool,
                rescale_pool=settings.rescale_pool,
                precision=chosen,
                device=where,
            )

        return self._backbones.get(key, read)

    def backbone_hash(self, name: str) -> str:
        """SHA-256 of a backbone's file, taken once; empty where it is not here."""
        from impasto.core.backbones import BACKBONES
        from impasto.core.store import locate

        path = locate(name) if name in BACKBONES else at_home(name)
        if path is None or not path.is_file():
            return ""
        found = path.stat()
        return self._hashes.get((str(path), found.st_size, found.st_mtime_ns), partial(sha256, path))

    def limit(self, request: StylizeRequest) -> int | None:
        """Bytes that the process may need at most while this is carried out; None is what is free."""
        asked = [limit for limit in (self.max_memory, _limit(request.max_memory)) if limit is not None]
        return min(asked, default=None)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A context to compute in, which `at_once` jobs can be in at the same time; the next one waits."""
        with self._turns:
            yield


def as_light(model: Model) -> LightModel:
    """The model itself, which computes in onnxruntime."""
    from impasto.light.model import LightModel

    if not isinstance(model, LightModel):
        raise TypeError(f"{model.name} is of torch")
    return model


def as_torch(model: Model) -> TorchModel:
    """The model itself, which computes in torch."""
    from impasto.stylizer.torch_model import TorchModel

    if not isinstance(model, TorchModel):
        raise TypeError(f"{model.name} is of onnxruntime")
    return model


def _limit(max_memory: str | int | None) -> int | None:
    """What the process may need at most, in bytes."""
    limit = parse_memory(max_memory)
    if limit is not None and limit < LEAST:
        told = f"`max_memory` is {limit} bytes, in which nothing can be painted: give it with its unit"
        raise OptionError(f"{told}, such as 2GB")
    return limit


def _need_torch(what: str) -> None:
    if not has_torch():
        raise MissingExtraError("torch", "torch", what)


class _Loaded(Generic[T]):
    """The last few things that were loaded. Each is loaded once: other threads that want it wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: OrderedDict[Hashable, _Place[T]] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """What is kept under the key; it is read if it is not there."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > KEPT:  # who waits for one that goes here still gets it
                self._places.popitem(last=False)
        with place.lock:
            if place.value is None:
                place.value = read()
            return place.value


class _Place(Generic[T]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: T | None = None


_default: Engine | None = None
_default_lock = threading.Lock()


def default_engine() -> Engine:
    """The one that `impasto.load` and `impasto.stylize` use."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Engine()
        return _default
