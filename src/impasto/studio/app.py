"""The HTTP interface of the studio: what is sent becomes a request, what is painted a response."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from typing import IO, Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from impasto.errors import ImpastoError
from impasto.studio.form import read_form, schema, understood
from impasto.studio.guard import Guard, Keys, client_of
from impasto.studio.jobs import StudioJob
from impasto.studio.keeper import FAULT
from impasto.studio.limits import Limits
from impasto.studio.metrics import Metrics
from impasto.studio.page import mount_page
from impasto.studio.problems import MEDIA_TYPE, PROBLEMS, SCHEMA, ProblemError, of_error, of_failure, of_status
from impasto.studio.service import Service
from impasto.studio.views import JobView, StylesView, StyleView, view_of

__all__ = ["create_app", "has_page"]

RETRIED: Final = ("not-ready", "busy", "starting", "stopping")  # problems that may be gone when one tries again
ALIVE: Final = 15.0  # seconds between signs of life in a stream of events
PREVIEW: Final = 5.0  # seconds that a request waits for a new picture so far
ENDED: Final = ("not-found", "gone", "invalid", "limit", "worker", "stopping")  # problems of a job that has ended
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
AT_ONCE: Final = 4 << 20  # bytes of a painting that are sent in one piece
MEDIA: Final = {name: f"image/{name}" for name in ("png", "jpeg", "webp", "tiff", "avif", "heic")}

_log = logging.getLogger(__name__)


def create_app(
    limits: Limits | None = None,
    *,
    service: Service | None = None,
    devices: Sequence[str] = ("auto",),
    workers: int | None = None,
    keys: Keys | None = None,
    hosts: Collection[str] | None = None,
    page: bool = True,
) -> FastAPI:
    """The studio as an ASGI application, ``/v1`` and the page.

    Args:
        limits: what clients may ask for.
        service: what paints; else it is made here, of `limits`, `devices` and `workers`, and closed at the end.
        devices, workers: see `Service`.
        keys: one of which every request must have; None lets everybody in.
        hosts: names by which the server may be called; None is any.
        page: whether the page is served as well, where it is installed.
    """
    with_page = page and has_page()
    shared = service or Service(limits, devices=devices, workers=workers, for_page=with_page)
    metrics = Metrics()
    metrics.watch(shared)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if service is None:
            await asyncio.to_thread(shared.close)

    app = FastAPI(
        title="impasto",
        version=version("impasto"),
        description="Repaints pictures in the manner of other pictures. Errors are problems as of RFC 9457.",
        docs_url=None,  # what it shows comes from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = shared
    _handle_errors(app)
    _add_stylize(app, shared, is_shared=keys is None)
    _add_jobs(app, shared, is_shared=keys is None)
    _add_watching(app, shared, metrics)
    _add_rest(app)
    if keys is not None:
        _describe_keys(app)
    if with_page:
        app = mount_page(app, shared)
    app.add_middleware(Guard, keys=keys, hosts=hosts)
    return app


def _describe_keys(app: FastAPI) -> None:
    """Say in the OpenAPI document how a key is sent."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        found = describe()
        ways = {"bearer": {"type": "http", "scheme": "bearer"}, "password": {"type": "http", "scheme": "basic"}}
        found.setdefault("components", {})["securitySchemes"] = ways
        found["security"] = [{name: []} for name in ways]
        return found

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI says to


def has_page() -> bool:
    """Whether what the page needs is installed."""
    return find_spec("gradio") is not None


def _problems(*names: str) -> dict[int | str, dict[str, Any]]:
    """The entries of an OpenAPI document for what may go wrong: these, and what may go wrong anywhere."""
    found: dict[int | str, dict[str, Any]] = {}
    for name in ("unauthorized", "forbidden", "misdirected", "fault", *names):
        status, title = PROBLEMS[name]
        told = f"{found[status]['description']}; {title}" if status in found else title
        found[status] = {"description": told, "content": {MEDIA_TYPE: {"schema": dict(SCHEMA)}}}
        if name in RETRIED:
            found[status]["headers"] = _header("Retry-After", "Seconds after which it may be worth trying again.")
    return found


def _header(name: str, description: str) -> dict[str, Any]:
    return {name: {"description": description, "schema": {"type": "string"}}}


def _painted(description: str) -> dict[str, Any]:
    notes = _header("Impasto-Notes", "Sentences about the result, parted by ` | `; only where there are any.")
    return {**_pictures(description, *MEDIA.values()), "headers": notes}


def _pictures(description: str, *kinds: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {"description": description, "content": content}


# -- painting -------------------------------------------------------------------------------------------------


def _add_stylize(app: FastAPI, service: Service, *, is_shared: bool) -> None:
    form = schema(service.limits, [row.name for row in service.styles])
    sent = "malformed", "too-slow", "too-large", "media-type", "busy"
    responses = _problems(*sent, *ENDED[2:])  # not those of a job that was taken away
    responses[200] = _painted("The painting.")
    responses[202] = {
        "description": "The job, where `Prefer: respond-async` asks for one.",
        "model": JobView,
        "headers": _header("Location", "The job's address."),
    }

    @app.head("/v1/styles", include_in_schema=False)
    @app.get("/v1/styles", tags=["painting"], responses=_problems())
    async def styles() -> StylesView:
        """The styles that are known by name."""
        return StylesView(styles=[StyleView(**vars(row)) for row in service.styles])

    @app.post(
        "/v1/stylize",
        tags=["painting"],
        response_class=Response,
        responses=responses,
        description=f"Repaint a photo in the manner of one or several styles. Whoever goes away before the end cancels "
        f"it. {service.limits.told}",
        openapi_extra={
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
            "parameters": [
                {
                    "name": "Prefer",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "enum": ["respond-async"]},
                    "description": "respond-async: answer at once with a job, not with the painting (RFC 7240).",
                }
            ],
        },
    )
    async def stylize(request: Request) -> Response:
        client = client_of(request.scope)
        service.check_room(client)
        form = await read_form(request, service.limits)
        try:
            job = await asyncio.to_thread(_submit, service, form, client)
        finally:
            await form.close()
        if "respond-async" in [word.strip().lower() for word in request.headers.get("prefer", "").split(",")]:
            view = view_of(job)
            headers = {"Location": view.links["self"], "Preference-Applied": "respond-async"}
            return JSONResponse(view.model_dump(mode="json"), 202, headers)
        try:
            await _end_of(job, request)
            return await asyncio.to_thread(_painting, job)
        finally:
            await asyncio.to_thread(service.forget, job)


def _submit(service: Service, form: FormData, client: str) -> StudioJob:
    folder = service.new_folder()
    try:
        said = understood(form, folder)
        return service.submit(
            said.photo,
            said.request,
            options=said.options,
            format=said.format,
            recipe=said.recipe,
            client=client,
            folder=folder,
            names=said.names,
        )
    except BaseException:
        service.discard(folder)
        raise


def _changes(job: StudioJob) -> tuple[asyncio.Event, Callable[[], None]]:
    """An event that is set whenever a job changes, and a function that ends this."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(changed.set)

    return changed, job.watch(tell)


async def _until(job: StudioJob, holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds of a job, or so many seconds."""
    changed, end = _changes(job)
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await changed.wait()
                changed.clear()
    except TimeoutError:
        return
    finally:
        end()


async def _end_of(job: StudioJob, request: Request) -> None:
    """Wait for a job's end; ClientDisconnect if whoever waits for it goes away before."""
    changed, end = _changes(job)
    gone = asyncio.create_task(_disconnected(request))
    try:
        while not job.has_ended:
            changed.clear()
            if job.has_ended:
                return
            change = asyncio.create_task(changed.wait())
            await asyncio.wait({gone, change}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            if gone.done() and not job.has_ended:
                raise ClientDisconnect
    finally:
        gone.cancel()
        end()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _painting(job: StudioJob) -> Response:
    """The response with what was painted. ProblemError if nothing was."""
    _check_end(job)
    if job.state != "done":
        raise ProblemError("not-ready", f"the job is {job.state}: look again later", headers={"Retry-After": "1"})
    try:
        file = job.result_path.open("rb")
    except FileNotFoundError:
        raise ProblemError("not-found", "the picture is not kept any more") from None
    size = os.fstat(file.fileno()).st_size  # of what is open: its name may be gone since, with the job
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="painting.{job.format}"',
        "Cache-Control": "no-store",
    }
    if job.notes:
        headers["Impasto-Notes"] = " | ".join(job.notes).encode("ascii", "replace").decode("ascii")
    if size <= AT_ONCE:
        with file:
            return Response(file.read(), headers=headers, media_type=MEDIA[job.format])
    return StreamingResponse(_pieces(file), headers=headers, media_type=MEDIA[job.format])


def _check_end(job: StudioJob) -> None:
    """ProblemError where a job has ended without a picture."""
    if job.state == "cancelled":
        raise ProblemError("gone", "the job was cancelled, so that there is no picture")
    if job.failure is not None:
        raise of_failure(job.failure)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """A file that may have lost its name meanwhile."""
    with file:
        while piece := file.read(1 << 20):
            yield piece


# -- jobs -----------------------------------------------------------------------------------------------------


def _add_jobs(app: FastAPI, service: Service, *, is_shared: bool) -> None:
    missing = _problems("not-found", "gone")

    def find(id: str, request: Request) -> StudioJob:  # noqa: A002  the path calls it that
        job, client = service.job(id), client_of(request.scope)
        if job is None and service.was_cancelled(id, None if is_shared else client):
            raise ProblemError("gone", "the job was cancelled, and is gone")
        if job is None or not (is_shared or job.client == client):
            raise ProblemError("not-found", "there is no such job, or not any more")
        return job

    @app.head("/v1/jobs/{id}", include_in_schema=False)
    @app.get("/v1/jobs/{id}", tags=["jobs"], responses=missing)
    async def job(id: str, request: Request) -> JobView:  # noqa: A002
        """Where a job stands."""
        return view_of(find(id, request))

    @app.delete("/v1/jobs/{id}", tags=["jobs"], status_code=204, responses=missing)
    async def delete(id: str, request: Request) -> None:  # noqa: A002
        """Cancel a job, and remove what it has painted."""
        await asyncio.to_thread(service.forget, find(id, request))

    @app.get(
        "/v1/jobs/{id}/events",
        tags=["jobs"],
        response_class=StreamingResponse,
        responses=missing | {200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}},
    )
    async def events(id: str, request: Request) -> StreamingResponse:  # noqa: A002
        """Server-sent events: `progress` with the job at each change, at last `done`, `failed` or `cancelled`."""
        return StreamingResponse(
            _events(find(id, request)), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @app.head("/v1/jobs/{id}/preview", include_in_schema=False)
    @app.get(
        "/v1/jobs/{id}/preview",
        tags=["jobs"],
        response_class=Response,
        responses=_problems(*ENDED, "not-ready") | {200: _pictures("The picture so far.", "image/jpeg")},
    )
    async def preview(id: str, request: Request) -> Response:  # noqa: A002
        """The picture so far, at most 768 px long."""
        return await _picture_so_far(find(id, request))

    @app.head("/v1/jobs/{id}/result", include_in_schema=False)
    @app.get(
        "/v1/jobs/{id}/result",
        tags=["jobs"],
        response_class=Response,
        responses=_problems(*ENDED, "not-ready") | {200: _painted("The painting.")},
    )
    async def result(id: str, request: Request) -> Response:  # noqa: A002
        """The painting; where the job failed, why."""
        return await asyncio.to_thread(_painting, find(id, request))


async def _picture_so_far(job: StudioJob) -> Response:
    """The response with a new picture so far, if there is one soon. ProblemError if there is none at all."""
    before = job.ask_preview()
    if before is not None:
        await _until(job, lambda: job.previews > before or job.has_ended, PREVIEW)
    _check_end(job)
    if not job.previews:
        told = "the job is done: fetch its result" if job.has_ended else "nothing is painted yet: look again later"
        raise ProblemError("not-ready", told, headers={"Retry-After": "1"})
    try:
        data = await asyncio.to_thread(job.preview_path.read_bytes)
    except FileNotFoundError:
        raise ProblemError("not-found", "there is no such job, or not any more") from None
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def _events(job: StudioJob) -> AsyncGenerator[str, None]:
    changed, end = _changes(job)
    try:
        while True:
            changed.clear()
            view = view_of(job)
            name = view.state if job.has_ended and view.state not in ("queued", "running") else "progress"
            yield f"event: {name}\ndata: {json.dumps(view.model_dump(mode='json'))}\n\n"
            if name != "progress":
                return
            while not changed.is_set():
                try:
                    await asyncio.wait_for(changed.wait(), ALIVE)
                except TimeoutError:
                    yield ": still here\n\n"
    finally:
        end()


# -- watching, errors -----------------------------------------------------------------------------------------


def _add_watching(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["watching"], responses=_problems())
    async def healthz() -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", tags=["watching"], responses=_problems("starting", "stopping"))
    async def readyz() -> dict[str, str]:
        """Whether work is taken, and there are processes to do it."""
        if not service.ready:
            detail = "the server is being stopped" if service.is_stopping else "no process is ready to paint yet"
            raise ProblemError("stopping" if service.is_stopping else "starting", detail, headers={"Retry-After": "2"})
        return {"status": "ok"}

    @app.head("/metrics", include_in_schema=False)
    @app.get(
        "/metrics",
        tags=["watching"],
        response_class=Response,
        responses=_problems() | {200: {"description": "For Prometheus.", "content": {"text/plain": {}}}},
    )
    async def counts() -> Response:
        """Queue, seconds by phase, pictures, errors, processes."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_rest(app: FastAPI) -> None:
    """Answer for whatever else there is of our addresses, which the page, at ``/``, would answer in its own way."""
    known = [*app.router.routes]

    async def rest(request: Request) -> None:
        methods: set[str] = set()
        for route in known:
            if route.matches(request.scope)[0] is Match.PARTIAL:
                methods |= getattr(route, "methods", None) or set()
        found = of_status(405 if methods else 404)
        found.headers = {"Allow": ", ".join(sorted(methods))} if methods else {}
        raise found

    for path in ("/v1/{rest:path}", "/healthz", "/readyz", "/metrics"):
        app.add_api_route(path, rest, methods=[*METHODS], include_in_schema=False)


def _handle_errors(app: FastAPI) -> None:
    def answer(error: ProblemError) -> JSONResponse:
        return JSONResponse(error.body, error.status, dict(error.headers), media_type=MEDIA_TYPE)

    async def of_problem(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return answer(error)

    async def of_impasto(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ImpastoError)
        return answer(of_error(error))

    async def of_framework(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        found = of_status(error.status_code)
        found.headers = dict(error.headers or {})
        return answer(found)

    async def of_gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    async def of_fault(_request: Request, _error: Exception) -> Response:
        return answer(ProblemError("fault", FAULT))

    handlers: list[tuple[Any, Callable[[Request, Exception], Awaitable[Response]]]] = [
        (ProblemError, of_problem),
        (ImpastoError, of_impasto),
        (HTTPException, of_framework),
        (ClientDisconnect, of_gone),
        (Exception, of_fault),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
