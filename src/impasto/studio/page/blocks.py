"""The blocks of the page, what they look like, and which of them tells `events.Studio` what."""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from impasto.errors import DataError, load_library
from impasto.networks.shipped import place_of_picture
from impasto.studio.page.controls import STROKES, Controls
from impasto.studio.page.desk import Desk, Desks
from impasto.studio.page.events import Studio, controls_of
from impasto.studio.page.guard import Guard
from impasto.studio.page.looking import NETWORKS
from impasto.studio.page.painting import painter_of
from impasto.studio.page.several import paint_several, waiting
from impasto.stylizer.choice import has_torch
from impasto.stylizer.route import gallery_styles
from impasto.types import MAX_MEGAPIXELS

if TYPE_CHECKING:
    from impasto.studio.service import Service
    from impasto.stylizer.engine import Engine

__all__ = ["blocks_for", "mounted", "shown_inline"]

ASSETS: Final = Path(__file__).resolve().parent / "assets"
TITLE: Final = "impasto studio"
SWEPT: Final = 60  # seconds between looks for desks that nobody works at
CLEARED: Final = (600, 3600)  # seconds between looks for uploads that no desk has taken, and for which they may lie
FIRST: Final = {"strength": 100, "strokes": STROKES, "keep_colors": False, "quality": "draft", "size": None}


def blocks_for(paints: Engine | Service) -> Any:
    """The page, see `build_page`."""
    gr = load_library("gradio", "studio", "the studio's page")
    uploads = Path(load_library("gradio.utils", "studio", "the studio's page").get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    # Below the folder of uploads, because that is where Gradio serves files from; it goes with the page.
    folder = tempfile.TemporaryDirectory(prefix="impasto-", dir=uploads, ignore_cleanup_errors=True)
    place = Path(folder.name)
    painter = painter_of(paints)
    largest = MAX_MEGAPIXELS if painter.limits is None else painter.limits.megapixels
    desks = Desks(place / "desks", largest, painter.act_of)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=CLEARED) as page:
        _Page(gr, Studio(painter), desks, uploads, _thumbnails(place / "gallery")).build()
        page.load(painter.warm, queue=False, show_progress="hidden", api_visibility="private")
    page.desks, page.folder, page.limits = desks, folder, painter.limits
    return page


def how_served(gr: Any) -> dict[str, Any]:
    """How Gradio is to serve the page: nothing but it, in our looks, whose fonts do not come from elsewhere."""
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="stone",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    ).set(
        body_background_fill="#f6f3ee",
        body_background_fill_dark="#191816",
        body_text_color="#23201c",
        body_text_color_dark="#f0ebe3",
        body_text_color_subdued="#5d564d",
        body_text_color_subdued_dark="#b5aca0",
        block_background_fill="#fffdf9",
        block_background_fill_dark="#24221f",
        color_accent="#1d4f82",
        link_text_color="#1d4f82",
        link_text_color_dark="#8dbdec",
        border_color_primary="#d8d0c4",
        border_color_primary_dark="#3d3934",
        button_primary_background_fill="#1d4f82",
        button_primary_background_fill_dark="#8dbdec",
        button_primary_background_fill_hover="#17426e",
        button_primary_background_fill_hover_dark="#a9cef2",
        button_secondary_background_fill="#fffdf9",
        button_secondary_background_fill_dark="#24221f",
        button_secondary_background_fill_hover="#fffdf9",
        button_secondary_background_fill_hover_dark="#24221f",
        button_secondary_border_color="#857c70",
        button_secondary_border_color_dark="#8d8478",
        button_border_width="1px",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#10202f",
    )
    middleware = load_library("fastapi.middleware", "studio", "the studio's page").Middleware
    return {
        "theme": theme,
        "css": (ASSETS / "page.css").read_text("utf-8"),
        "app_kwargs": {"middleware": [middleware(Guard)]},
        "server_name": "127.0.0.1",
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "pwa": False,
        "enable_monitoring": False,
    }


def mounted(app: Any, page: Any) -> Any:
    """The application with the page at ``/``."""
    gr = load_library("gradio", "studio", "the studio's page")
    most = None if page.limits is None else page.limits.upload_bytes
    found = gr.mount_gradio_app(app, page, path="/", max_file_size=most, show_error=False, **how_served(gr))
    others = found.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: Any) -> AsyncIterator[Any]:
        async with others(served) as state:
            sweeping = asyncio.create_task(_sweep(page.desks))
            yield state
            sweeping.cancel()
        page.desks.clear()
        page.folder.cleanup()

    found.router.lifespan_context = lifespan
    return found


async def _sweep(desks: Desks) -> None:
    """Clear desks that nobody works at, for as long as the page is served."""
    while True:
        await asyncio.sleep(SWEPT)
        await asyncio.to_thread(desks.sweep)


def shown_inline(page: Any, height: int) -> Any:
    """The page in a notebook."""
    gr = load_library("gradio", "studio", "the studio's page")
    page.launch(inline=True, share=False, quiet=True, prevent_thread_lock=True, height=height, **how_served(gr))
    return page


def _thumbnails(folder: Path) -> list[dict[str, Any]]:
    """The gallery's styles with what their thumbnails are called."""
    folder.mkdir()
    rows = []
    for record in gallery_styles():
        row = {"id": record.name, "title": record.title or record.name, "artist": record.artist, "year": record.year}
        picture = place_of_picture(record.name, "thumbnail")
        if picture.is_file():
            row["file"] = str(shutil.copy(picture, folder / f"{record.name}.jpg"))
        rows.append(row)
    return rows


class _Page:
    """Builds the blocks within a `gradio.Blocks`, and joins them to what is done.

    Each listener is called with the visitor's desk, what the event brings, and the controls.
    """

    def __init__(self, gr: Any, studio: Studio, desks: Desks, uploads: Path, gallery: list[dict[str, Any]]) -> None:
        self.gr, self.studio, self.desks, self.uploads, self.gallery = gr, studio, desks, uploads, gallery

    # -- the blocks -----------------------------------------------------------------------------------------

    def build(self) -> None:
        gr = self.gr
        head = "<h1>impasto studio</h1><p>Photos painted in the manner of paintings, on this machine.</p>"
        gr.HTML(
            html_template=f"<header class='studio'>{head}</header>",
            js_on_load=None,
            elem_classes="masthead",
            apply_default_css=False,
        )
        with gr.Tabs():
            with gr.Tab("Paint"):
                self._paint_tab()
            with gr.Tab("Several photos"):
                self.queue = self._part("queue", None)
            with gr.Tab("History"):
                self.history = self._part("history", {"rows": []})
            if has_torch():
                with gr.Tab("Look inside") as self.inside:
                    self._lab_tab()
        self._listen()

    def _paint_tab(self) -> None:
        gr = self.gr
        with gr.Row(equal_height=False, elem_classes="desk"):
            with gr.Column(scale=3, min_width=340, elem_classes="left"):
                self.easel = self._part("easel", None)
                with gr.Accordion("The same from the command line, and from Python", open=False):
                    self.command = gr.Textbox(
                        label="Command line", lines=2, interactive=False, buttons=["copy"], elem_id="command"
                    )
                    self.call = gr.Textbox(label="Python", lines=8, interactive=False, buttons=["copy"], elem_id="call")
            with gr.Column(scale=2, min_width=340, elem_classes="studio-panel"):
                self.palette = self._part("palette", {"chosen": [], "own": [], "n": 0}, gallery=self.gallery)
                self.controls = self._part("controls", FIRST)

    def _lab_tab(self) -> None:
        gr = self.gr
        gr.Markdown("What channels of a layer answer to in the photo; each map is coloured by its own largest value.")
        with gr.Row(equal_height=False):
            networks = list(NETWORKS)
            self.network = gr.Dropdown(label="Network", choices=networks, value=networks[0], elem_id="network")
            self.layer = gr.Dropdown(label="Layer", choices=[], elem_id="layer")
        self.look = gr.Button("Look", variant="primary", elem_id="look")
        self.sheet = self._part("lab", None)

    def _part(self, name: str, value: Any, **props: Any) -> Any:
        """A part of the page that is made of HTML and a script of ours."""
        script = "".join((ASSETS / f"{one}.js").read_text("utf-8") for one in ("common", name))
        return self.gr.HTML(
            value,
            html_template=f"<div class='studio'>{(ASSETS / f'{name}.html').read_text('utf-8')}</div>",
            js_on_load=script,
            apply_default_css=False,
            elem_id=name,
            **props,
        )

    # -- who listens ----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        chosen, shown = [self.palette, self.controls], [self.easel, self.command, self.call]
        settings = [self.palette, self.controls, *shown]
        quick: dict[str, Any] = {"queue": False, "trigger_mode": "multiple"}
        self._on(self.easel.photo, self._photo, chosen, shown, **quick)
        self._on(self.palette.choose, self._chosen, chosen, shown, queue=False, trigger_mode="always_last")
        self._on(self.controls.choose, self._chosen, chosen, shown, queue=False, trigger_mode="always_last")
        self._on(self.palette.picture, self._picture, chosen, [self.palette, *shown], **quick)
        # Not `always_last`, which would send the first of several strokes again instead of the last.
        self._on(self.easel.mask, self._mask, chosen, shown, **quick)
        self._on(self.easel.settings, self._settings_of_photo, chosen, settings, **quick)
        self._on(self.controls.settings, self._settings_of_file, chosen, settings, **quick)
        self._on(self.easel.leave_out, self._leave_out, chosen, shown, **quick)
        self._on(
            self.easel.paint, self._paint, chosen, [*shown, self.history], concurrency_limit=None,
            trigger_mode="once",
        )  # fmt: skip
        self._on(self.easel.stop, self._stop, [], [self.easel], **quick)
        self._on(self.easel.save, self._save, [], [self.easel], **quick)
        self._on(self.history.use, self._use, [], settings, **quick)
        self._on(self.history.save, self._save, [], [self.easel], **quick)
        self._on(self.queue.bring, self._add, [], [self.queue], **quick)
        self._on(self.queue.clear, self._clear, [], [self.queue], **quick)
        self._on(self.queue.stop, self._stop, [], [self.easel], **quick)
        self._on(self.queue.begin, self._several, chosen, [self.queue], concurrency_limit=None, trigger_mode="once")
        if has_torch():
            for event in (self.inside.select, self.network.change):
                self._on(event, self._layers, [*chosen, self.network], [self.layer, self.sheet], **quick)
            looked = [*chosen, self.network, self.layer]
            self._on(self.look.click, self._look, looked, [self.sheet], concurrency_limit=None)

    def _on(self, event: Any, act: Callable[..., Any], inputs: list[Any], outputs: list[Any], **how: Any) -> None:
        event(self._listener(act), inputs, outputs, show_progress="hidden", api_visibility="private", **how)

    def _listener(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """What Gradio calls: with the request, which tells the visitor, and the event. It reads both off the types."""
        if act in (self._paint, self._several):

            def listener(request: Any, event: Any, *values: Any) -> Any:
                yield from act(self._desk(request), event, *values)
        else:

            def listener(request: Any, event: Any, *values: Any) -> Any:
                return act(self._desk(request), event, *values)

        listener.__annotations__ = {"request": self.gr.Request, "event": self.gr.EventData}
        return listener

    def _desk(self, request: Any) -> Desk:
        return self.desks.of(str(request.session_hash), _client_of(request.request))

    def _uploaded(self, told: Any) -> tuple[Path, str]:
        """A file that was uploaded, and its name: nothing that lies elsewhere."""
        path = Path(str(told["path"])).resolve()
        ours = self.desks.folder.parent.resolve()
        if self.uploads.resolve() not in path.parents or ours in path.parents or not path.is_file():
            raise DataError("this is no uploaded file: choose it again")
        return path, str(told["name"])

    # -- what they do ---------------------------------------------------------------------------------------

    def _showing(self, desk: Desk, *acts: Callable[[], Any]) -> tuple[Any, ...]:
        """Do this, as far as it goes; give what is to be shown, with what went wrong."""
        try:
            for act in acts:
                act()
        except Exception as error:  # noqa: BLE001  whatever it is, the page goes on and says so
            self.studio.told(desk, error)
        return (self.studio.view(desk), *self.studio.copies(desk))

    def _photo(self, desk: Desk, event: Any, *values: Any) -> Any:
        def take() -> None:
            desk.controls = _controls(values)
            self.studio.take_photo(desk, *self._uploaded(event._data))

        return self._showing(desk, take, lambda: self.studio.preview(desk))

    def _chosen(self, desk: Desk, _event: Any, *values: Any) -> Any:
        choose = functools.partial(self.studio.choose, desk, _controls(values))
        return self._showing(desk, choose, lambda: self.studio.preview(desk))

    def _picture(self, desk: Desk, event: Any, *values: Any) -> Any:
        found = [_controls(values)]

        def take() -> None:
            mix = bool(event._data["mix"])
            found.append(self.studio.take_painting(desk, *self._uploaded(event._data), found[0], mix=mix))

        shown = self._showing(desk, take)
        # The page asks for the preview when it has the painting: other controls may have been moved meanwhile.
        return ({**self.studio.palette(desk, found[-1]), "ask": len(found) > 1}, *shown)

    def _mask(self, desk: Desk, event: Any, *values: Any) -> Any:
        desk.controls = _controls(values)
        brush = functools.partial(self.studio.brush, desk, str(event._data["of"]), str(event._data["png"]))
        return self._showing(desk, brush, lambda: self.studio.preview(desk))

    def _settings_of_photo(self, desk: Desk, _event: Any, *_values: Any) -> Any:
        def take() -> str:
            if desk.photo is None or desk.photo.recipe is None:
                raise DataError("this picture carries no settings")
            return self.studio.take_settings(desk, desk.photo.recipe)

        return self._with_settings(desk, take)

    def _settings_of_file(self, desk: Desk, event: Any, *_values: Any) -> Any:
        def take() -> str:
            return self.studio.take_settings(desk, self.studio.settings_of(desk, *self._uploaded(event._data)))

        return self._with_settings(desk, take)

    def _use(self, desk: Desk, event: Any) -> Any:
        def take() -> str:
            self.studio.choose(desk, desk.done[int(event._data["place"])].controls)
            return "The settings of that painting are set."

        return self._with_settings(desk, take)

    def _with_settings(self, desk: Desk, take: Callable[[], str]) -> Any:
        shown = self._showing(desk, lambda: self.studio.preview(desk, take()))
        found = desk.controls or Controls()
        values = {name: value for name, value in vars(found).items() if name != "styles"}
        return (self.studio.palette(desk, found), values, *shown)

    def _leave_out(self, desk: Desk, _event: Any, *_values: Any) -> Any:
        return self._showing(desk, lambda: self.studio.leave_out(desk), lambda: self.studio.preview(desk))

    def _paint(self, desk: Desk, _event: Any, *values: Any) -> Iterator[Any]:
        desk.controls = _controls(values)
        shown = self.gr.skip()
        try:
            for _ in self.studio.paint(desk):
                yield (*self._showing(desk), shown)
        except Exception as error:  # noqa: BLE001  as in `_showing`
            self.studio.told(desk, error)
        yield (*self._showing(desk), self.studio.history(desk))

    def _stop(self, desk: Desk, _event: Any) -> Any:
        desk.stop()
        return self.studio.view(desk)

    def _save(self, desk: Desk, event: Any) -> Any:
        place = event._data.get("place")
        return self._showing(desk, lambda: self.studio.save(desk, str(event._data["format"]), place))[0]

    def _add(self, desk: Desk, event: Any) -> Any:
        try:
            desk.add_waiting([self._uploaded(row) for row in event._data["files"]])
        except Exception as error:  # noqa: BLE001  as in `_showing`
            self.studio.told(desk, error)
            return waiting(self.studio, desk, problem=desk.view["problem"])
        return waiting(self.studio, desk, problem=str(event._data.get("problem", "")))

    def _clear(self, desk: Desk, _event: Any) -> Any:
        desk.clear_waiting()
        return waiting(self.studio, desk)

    def _several(self, desk: Desk, _event: Any, *values: Any) -> Iterator[Any]:
        desk.controls = _controls(values)
        yield from paint_several(self.studio, desk)

    def _layers(self, desk: Desk, _event: Any, *values: Any) -> Any:
        desk.controls = _controls(values)
        layers, told = self._looking(desk, lambda: self.studio.layers(desk, values[-1]), [])
        first = layers[len(layers) // 3] if layers else None  # where much can be seen
        return self.gr.update(choices=layers, value=first), told

    def _look(self, desk: Desk, _event: Any, *values: Any) -> Any:
        *chosen, network, layer = values
        desk.controls = _controls(chosen)
        sheet, told = self._looking(desk, lambda: self.studio.look_inside(desk, network, layer), None)
        return told if sheet is None else {"sheet": str(sheet), "told": f"{layer} of {network}", "problem": ""}

    def _looking(self, desk: Desk, act: Callable[[], Any], otherwise: Any) -> tuple[Any, dict[str, Any]]:
        try:
            return act(), {"problem": ""}
        except Exception as error:  # noqa: BLE001  as in `_showing`
            self.studio.told(desk, error)
            return otherwise, {"problem": desk.view["problem"]}


def _client_of(request: Any) -> str:
    """Who a request's limits count for: as the server's guard says, or else the address that it came from."""
    state, address = request.scope.get("state", {}), request.scope.get("client")
    return str(state.get("client") or (address[0] if address else "local"))


def _controls(values: Any) -> Controls:
    """What the palette and the controls hold."""
    palette, controls = values[0], {**FIRST, **(values[1] or {})}
    return controls_of(palette, **controls)
