"""The HTTP interface, asked over real sockets."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from PIL.ExifTags import GPS, Base

from impasto.errors import OptionError
from impasto.imaging import read
from impasto.imaging.embedded import read_recipe
from impasto.imaging.formats import FORMATS
from impasto.studio.form import FIELDS, OWN
from impasto.studio.guard import Keys
from impasto.studio.limits import Limits
from impasto.studio.problems import MEDIA_TYPE, PROBLEMS
from impasto.studio.service import Service
from impasto.stylizer.recipe import Recipe
from impasto.stylizer.request import OutputOptions, StylizeRequest

from .studio_samples import data_of, files_of_jobs, photo, served, until

PHOTO = data_of(photo(), "JPEG")
STYLE = data_of(photo((40, 48), seed=1))
LONG = {"preset": "balanced", "size": "96", "upscale": "true", "steps": "900"}  # minutes of work


def ask(server: str, files: Any = None, headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
    files = {"photo": PHOTO} if files is None else files
    return requests.post(f"{server}/v1/stylize", files=files, data=fields, headers=headers, timeout=60)


def begun(server: str, **fields: Any) -> str:
    """The address of a long job that is being painted."""
    files = {"photo": PHOTO, "style": ("x", STYLE)}
    answer = ask(server, files, {"Prefer": "respond-async"}, **LONG | fields)
    assert answer.status_code == 202, answer.text
    place = server + answer.headers["Location"]
    until(lambda: (requests.get(place, timeout=60).json()["progress"] or {}).get("losses"))
    return place


def told(answer: requests.Response, name: str) -> dict[str, Any]:
    """The problem in a response, which must be of this name."""
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    found = answer.json()
    assert (found["type"], found["status"]) == (f"urn:impasto:problem:{name}", answer.status_code), found
    assert (found["status"], found["title"]) == PROBLEMS[name]
    return found


# -- painting -------------------------------------------------------------------------------------------------


def test_a_picture_comes_back_with_its_recipe(server: str, service: Service) -> None:
    answer = ask(server, style="great-wave", strength="0.5", keep_colors="luminance", size="")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["content-disposition"] == 'attachment; filename="painting.png"'
    painted = read(io.BytesIO(answer.content))
    assert (painted.height, painted.width) == (64, 80)
    recipe = Recipe.from_text(read_recipe(io.BytesIO(answer.content)), "painting")
    assert recipe.request["style"] == [{"style": "great-wave", "weight": 1.0}]
    assert (recipe.request["strength"], recipe.request["keep_colors"]) == (0.5, True)
    assert service.jobs == ()
    until(lambda: files_of_jobs(service) == [])


@pytest.mark.parametrize("kind", ["jpeg", "webp", "tiff", "avif"])
def test_formats(server: str, kind: str) -> None:
    answer = ask(server, style="great-wave", format=kind, recipe="no")
    assert answer.headers["content-type"] == f"image/{kind}"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == kind.upper()
    assert read_recipe(io.BytesIO(answer.content)) is None


def test_pictures_as_styles_with_weights_and_masks(server: str) -> None:
    other = data_of(photo((44, 40), seed=5))
    mask = Image.new("L", (80, 64))
    mask.paste(255, (0, 0, 40, 64))
    files = [("photo", ("a", PHOTO)), ("style", ("b", STYLE)), ("style", ("c", other)), ("mask", ("d", data_of(mask)))]
    first, second = (ask(server, files, weight=["1", weight]) for weight in ("1", "9"))
    pictures = [read(io.BytesIO(answer.content)).integers(8) for answer in (first, second)]
    original = read(io.BytesIO(PHOTO)).integers(8)
    assert not np.array_equal(pictures[0], pictures[1])
    assert all(np.array_equal(picture[:, 44:], original[:, 44:]) for picture in pictures)
    recipe = Recipe.from_text(read_recipe(io.BytesIO(second.content)), "painting")
    assert [row["weight"] for row in recipe.request["style"]] == [1, 9]


def test_a_format_may_be_called_by_its_suffix(server: str) -> None:
    answer = ask(server, style="great-wave", format="jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert "painting.jpeg" in answer.headers["content-disposition"]


def test_a_job_from_its_begin_to_its_end(server: str) -> None:
    answer = ask(server, headers={"Prefer": "respond-async, wait=3"}, style="great-wave")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async")
    job = answer.json()
    assert answer.headers["Location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    with requests.get(server + job["links"]["events"], stream=True, timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [part.split("\n") for part in stream.text.strip().split("\n\n")]
    names = [lines[0].removeprefix("event: ") for lines in events]
    assert names == ["progress"] * (len(names) - 1) + ["done"]
    last = json.loads(events[-1][1].removeprefix("data: "))
    assert (last["state"], last["id"]) == ("done", job["id"])
    found = [last["progress"][name] for name in ("phase", "share", "left", "width", "height")]
    assert found == ["writing", 1.0, 0.0, 80, 64]
    assert requests.get(server + job["links"]["self"], timeout=60).json() == last
    for _ in range(2):  # it may be fetched again
        result = requests.get(server + last["links"]["result"], timeout=60)
        assert read(io.BytesIO(result.content)).width == 80
    place = server + job["links"]["self"]
    assert requests.delete(place, timeout=60).status_code == 204
    for method, path in (("get", ""), ("delete", ""), ("get", "/events"), ("get", "/preview"), ("get", "/result")):
        told(getattr(requests, method)(place + path, timeout=60), "not-found")


def test_a_long_job_is_watched_and_cancelled(server: str, service: Service) -> None:
    place = begun(server)
    waiting = server + ask(server, headers={"Prefer": "respond-async"}, style="great-wave").headers["Location"]
    told(requests.get(f"{waiting}/preview", timeout=60), "not-ready")
    told(requests.get(f"{waiting}/result", timeout=60), "not-ready")
    assert told(requests.get(f"{place}/result", timeout=60), "not-ready")["detail"].startswith("the job is running")
    shown = requests.get(f"{place}/preview", timeout=60)
    assert (shown.headers["content-type"], read(io.BytesIO(shown.content)).width) == ("image/jpeg", 96)
    found = requests.get(place, timeout=60).json()["progress"]
    assert (found["total"], found["width"], found["height"]) == (900, 96, 77)
    with requests.get(f"{place}/events", stream=True, timeout=60) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        assert next(lines) == "event: progress"
        job = service.job(place.rpartition("/")[2])
        service.cancel(job)
        names = [line for line in lines if line.startswith("event: ")]
    assert names[-1] == "event: cancelled"
    told(requests.get(f"{place}/result", timeout=60), "gone")
    requests.delete(place, timeout=60)
    until(lambda: not job.folder.exists())
    requests.delete(waiting, timeout=60)
    for method, path in (("get", ""), ("delete", ""), ("get", "/events"), ("get", "/preview"), ("get", "/result")):
        told(getattr(requests, method)(place + path, timeout=60), "gone")
        told(getattr(requests, method)(waiting + path, timeout=60), "gone")


def test_a_result_that_is_removed_while_it_is_fetched(
    server: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = server + ask(server, headers={"Prefer": "respond-async"}, style="great-wave").headers["Location"]
    job = service.job(place.rpartition("/")[2])
    assert job.wait(60)
    opened = Path.open

    def taken_away(self: Path, *how: Any, **more: Any) -> Any:
        file = opened(self, *how, **more)
        if self == job.result_path:
            requests.delete(place, timeout=60)
            assert not self.exists()
        return file

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", taken_away)
        answer = requests.get(f"{place}/result", timeout=60)
    assert (answer.status_code, read(io.BytesIO(answer.content)).width) == (200, 80)
    told(requests.get(f"{place}/result", timeout=60), "not-found")


def test_a_job_without_a_picture_so_far(server: str) -> None:
    quick, bad = (
        server + ask(server, files, {"Prefer": "respond-async"}, style="great-wave").headers["Location"]
        for files in (None, {"photo": b"no picture"})
    )
    for place in (quick, bad):
        until(lambda place=place: requests.get(place, timeout=60).json()["state"] in ("done", "failed"))
    assert "fetch its result" in told(requests.get(f"{quick}/preview", timeout=60), "not-ready")["detail"]
    told(requests.get(f"{bad}/preview", timeout=60), "invalid")


def test_who_goes_away_cancels(server: str, service: Service) -> None:
    prepared = requests.Request(
        "POST", f"{server}/v1/stylize", files={"photo": PHOTO, "style": ("x", STYLE)}, data=LONG
    ).prepare()
    head = "".join(f"{name}: {value}\r\n" for name, value in prepared.headers.items())
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(f"POST /v1/stylize HTTP/1.1\r\nHost: {host}:{port}\r\n{head}\r\n".encode() + prepared.body)
        until(lambda: service.running())
    until(lambda: not service.running())
    until(lambda: service.jobs == ())
    until(lambda: files_of_jobs(service) == [])


# -- what is wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "option", "part"),
    [
        ({}, "style", "at least one `style` is needed: a name"),
        ({"style": "grate-wave"}, "style", "did you mean 'great-wave'?"),
        ({"style": "/etc/passwd"}, "style", "not known here"),
        ({"style": "great-wave:x"}, "style", "not known here"),
        ({"style": "great-wave", "strength": "2"}, "strength", "need a number from 0 to 1"),
        ({"style": "great-wave", "strength": "nan"}, "strength", "need a number from 0 to 1"),
        ({"style": "great-wave", "strength": ["0.1", "0.2"]}, "strength", "given 2 times"),
        ({"style": "great-wave", "stren": "1"}, "stren", "did you mean 'strength'?"),
        ({"style": "great-wave", "steps": "5"}, "steps", "leave out `steps`"),
        ({"style": "great-wave", "steps": "5001"}, "steps", "at most 5000 is allowed here"),
        ({"style": "great-wave", "weight": ["1", "2"]}, "weight", "1 style with 2 weights"),
        ({"style": "great-wave", "weight": "0"}, "weight", "above 0"),
        ({"style": "great-wave:2", "weight": "1"}, "weight", "has its own: leave one out"),
        ({"style": "great-wave", "weight": "much"}, "weight", "is much, need a number above 0"),
        ({"style": "great-wave:0"}, "style", "above 0"),
        ({"style": "great-wave", "format": "bmp"}, "format", "use one of jpeg"),
        ({"style": "great-wave", "recipe": "perhaps"}, "recipe", "need true or false"),
        ({"style": "great-wave", "settings": "[1]"}, "settings", "no JSON object"),
        ({"style": "great-wave", "settings": "[" * 9000}, "settings", "no JSON object"),
        ({"style": "great-wave", "settings": '{"factor": 2}'}, "factor", "leave out `factor`"),
        ({"style": "great-wave", "jpeg_quality": "101"}, "jpeg_quality", "from 1 to 100"),
        ({"style": "great-wave", "jpeg_quality": "80"}, "jpeg_quality", "and PNG is written: leave it out"),
        ({"style": "great-wave", "png_compression": "2", "format": "jpeg"}, "png_compression", "and JPEG is written"),
        ({"style": "great-wave", "mask": "mask.png"}, "mask", "send a picture"),
        ({"style": "great-wave", "model": "../x"}, "model", "not known here"),
        ({"style": "great-wave", "device": "cuda:99"}, "device", "is not there"),
        ({"style": "great-wave", "max_memory": "little"}, "max_memory", "600MB"),
        ({"style": "great-wave", "max_memory": "-1"}, "max_memory", "600MB"),
        ({"style": "great-wave", "max_memory": "900000000"}, "max_memory", "write a number with its unit"),
        ({"style": "great-wave", "max_megapixels": "100"}, "max_megapixels", "is 100, and at most 50 is allowed here"),
        ({"style": "great-wave", "max_memory": "90MB"}, "max_memory", "need `max_memory`"),
        ({"style": "great-wave", "size": "99999", "upscale": "true"}, "size", "choose a smaller `size`"),
        ({"style": "great-wave", "size": "20000000", "upscale": "true"}, "size", "megapixels"),
        ({"style": "great-wave", "size": "1" + "0" * 20, "upscale": "true"}, "size", "megapixels"),
        ({"style": "great-wave", "size": "1" + "0" * 400, "upscale": "true"}, "size", "megapixels"),
        ({"style": "great-wave", "steps": "1" + "0" * 400}, "steps", "at most 5000"),
    ],
)
def test_what_makes_no_sense_is_told(server: str, fields: dict[str, Any], option: str | None, part: str) -> None:
    found = told(ask(server, **fields), "invalid")
    assert part in found["detail"]
    assert option is None or found["option"] == option


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"photo": b"no picture", "style": ("x", STYLE)}, "photo"),
        ({"photo": PHOTO, "style": ("x", b"no picture")}, "style"),
        ({"photo": PHOTO, "style": ("x", STYLE), "mask": ("x", b"no picture")}, "mask"),
        ({"photo": PHOTO, "style": ("x", STYLE), "init": ("x", b"no picture")}, "init"),
        ({"photo": PHOTO, "style": ("x", STYLE), "content_layers": (None, "relu9")}, "content_layers"),
        ({"photo": PHOTO, "style": ("x", STYLE), "style_layers": (None, "relu9")}, "style_layers"),
        ({"photo": PHOTO, "style": ("x", STYLE), "backbone": (None, "vgg19")}, "backbone"),
        ({"photo": PHOTO, "style": ("x", STYLE), "preset": (None, "gatys-code")}, "preset"),
        ({"photo": PHOTO, "style": ("x", STYLE), "model": (None, "gallery")}, "style"),
    ],
)
def test_the_field_that_is_wrong_is_named(server: str, fields: dict[str, Any], option: str) -> None:
    found = told(ask(server, fields), "invalid")
    assert found.get("option") == option, found


def test_what_the_server_has_not_or_does_not_allow_is_not_advised(server: str) -> None:
    """To fetch a backbone is for whoever runs it; its own limit of megapixels cannot be raised, a client's can."""
    style = {"photo": PHOTO, "style": ("x", STYLE)}
    for fields in ({"preset": "gatys-code"}, {"backbone": "vgg19"}):
        found = told(ask(server, style, **fields), "invalid")
        assert re.match("vgg19(-caffe)? is not on this server: ", found["detail"])
        assert "`backbone` " in found["detail"]
    large = {"photo": ("large.png", data_of(Image.new("1", (8000, 7000))))}
    found = told(ask(server, large, style="great-wave"), "invalid")
    assert found["detail"] == "large.png: 8000x7000 px is 56 megapixels, at most 50 are read here: scale it down"
    found = told(ask(server, large, style="great-wave", max_megapixels="9"), "invalid")
    assert found["detail"].endswith("at most 9 are read; scale it down or raise the limit, `max_megapixels`")


def test_names_and_pictures_are_not_mixed(server: str) -> None:
    found = told(ask(server, {"photo": PHOTO, "style": ("x", STYLE)}, style="great-wave"), "invalid")
    assert (found["option"], "names alone or pictures alone" in found["detail"]) == ("style", True)


def test_forms_that_are_none(server: str) -> None:
    url = f"{server}/v1/stylize"
    told(requests.post(url, json={"style": "great-wave"}, timeout=60), "media-type")
    told(requests.post(url, timeout=60), "media-type")
    told(requests.post(url, data={"style": "great-wave"}, timeout=60), "media-type")
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="style"\r\n\r\ngreat-wave\r\n'
    for body in (b"", b"--x", b"no form", part, part + b"--x", b"--x\r\n\r\n\r\n--x--\r\n"):
        told(requests.post(url, data=body, headers=kind, timeout=60), "malformed")
    told(
        requests.post(url, data=part + b"--x--\r\n", headers={"Content-Type": "multipart/form-data"}, timeout=60),
        "malformed",
    )
    found = told(requests.post(url, data=part + b"--x--\r\n", headers=kind, timeout=60), "invalid")
    assert found["option"] == "photo"
    told(ask(server, {f"style{i}": b"x" for i in range(65)}), "malformed")
    told(ask(server, style="x" * 70_000), "malformed")
    assert told(ask(server, {"photo": PHOTO, "size": ("a", b"9")}), "invalid")["option"] == "size"
    handlers = logging.getLogger("python_multipart").handlers  # or what is wrong with a form goes to stderr as well
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def test_requests_that_are_too_large(server: str) -> None:
    large = b"x" * 2_100_000
    told(ask(server, {"photo": large}), "too-large")

    def unknown_length() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\n'
        for _ in range(30):
            yield b"x" * 100_000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = requests.post(f"{server}/v1/stylize", data=unknown_length(), headers=headers, timeout=60)
    told(answer, "too-large")


def test_a_request_that_comes_too_slowly(server: str, service: Service) -> None:
    service.limits = replace(service.limits, upload_seconds=0.3)
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        head = f"POST /v1/stylize HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 9999\r\n"
        line.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode())
        answer = line.recv(1 << 16)
        assert b" 408 " in answer.split(b"\r\n")[0]


def test_no_more_jobs_than_there_is_room_for(server: str, service: Service) -> None:
    service.limits = replace(service.limits, jobs_per_client=1)
    begun(server)
    refused = ask(server, style="great-wave")
    told(refused, "busy")
    assert int(refused.headers["Retry-After"]) >= 1


def test_addresses_and_methods_that_there_are_not(server: str) -> None:
    told(requests.get(f"{server}/nothing", timeout=60), "not-found")
    told(requests.get(f"{server}/v1/jobs/x", timeout=60), "not-found")
    for method, path, allowed in (
        ("get", "/v1/stylize", {"POST"}),
        ("put", "/v1/styles", {"GET", "HEAD"}),
        ("post", "/v1/jobs/x", {"DELETE", "GET", "HEAD"}),
        ("post", "/healthz", {"GET", "HEAD"}),
    ):
        answer = getattr(requests, method)(f"{server}{path}", timeout=60)
        told(answer, "method")
        assert {*answer.headers["Allow"].split(", ")} == allowed
    for path in ("/healthz", "/readyz", "/metrics", "/v1/styles"):
        answer = requests.head(f"{server}{path}", timeout=60)
        assert (answer.status_code, answer.content) == (200, b"")
    told(requests.delete(f"{server}/v1/nothing", timeout=60), "not-found")


def test_a_fault_of_ours_is_told_without_its_inside(
    server: str, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(service, "submit", broken)
    answer = ask(server, style="great-wave")
    assert "secret" not in answer.text
    told(answer, "fault")
    assert files_of_jobs(service) == []


# -- who may come in, and what they learn -----------------------------------------------------------------------


def test_keys(service: Service) -> None:
    first, second = "a-key-of-sixteen", "another-key-of-16"
    with served(service, keys=Keys([first, second])) as server:
        assert requests.get(f"{server}/healthz", timeout=60).status_code == 200
        assert requests.get(f"{server}/readyz", timeout=60).status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic !"}, {"Authorization": first}):
            for path in ("/v1/styles", "/metrics", "/openapi.json", "/nothing", "/"):
                answer = requests.get(server + path, headers=headers, timeout=60)
                told(answer, "unauthorized")
                assert answer.headers["WWW-Authenticate"].startswith("Basic")
        mine, other = ({"Authorization": f"Bearer {key}"} for key in (first, second))
        assert requests.get(f"{server}/v1/styles", headers=mine, timeout=60).ok
        assert requests.get(f"{server}/v1/styles", auth=("", second), timeout=60).ok
        job = ask(server, headers=mine | {"Prefer": "respond-async"}, style="great-wave").headers["Location"]
        assert requests.get(server + job, headers=mine, timeout=60).ok
        told(requests.get(server + job, headers=other, timeout=60), "not-found")
        told(requests.delete(server + job, headers=other, timeout=60), "not-found")


def test_a_file_of_keys(tmp_path) -> None:
    file = tmp_path / "keys"
    file.write_text("# of the studio\n\n  0123456789abcdef  \n")
    keys = Keys.of_file(file)
    assert (keys.owner("0123456789abcdef"), keys.owner("0123456789abcdeg"), keys.owner("")) == ("key 1", None, None)
    (tmp_path / "short").write_text("short\n")
    (tmp_path / "noise").write_bytes(b"\xff\xfe\0")
    for name, said in {
        "short": "need a key on each line",
        "none": "no such file; check the name and the folder$",
        "": "a folder, need a file with a key on each line$",
        "noise": "cannot be read .it is no text.",
    }.items():
        with pytest.raises(OptionError, match=f"^`api_key_file` {tmp_path / name}: {said}"):
            Keys.of_file(tmp_path / name)


def test_pages_of_other_sites_stay_outside(service: Service) -> None:
    with served(service, hosts={"127.0.0.1"}) as server:
        for headers in (
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            answer = ask(server, headers=headers, style="great-wave")
            told(answer, "forbidden")
            told(requests.get(f"{server}/v1/styles", headers=headers, timeout=60), "forbidden")
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        told(requests.get(f"{server}/v1/styles", headers={"Host": "rebound.example"}, timeout=60), "misdirected")
        answer = requests.get(f"{server}/v1/styles", headers={"Origin": server}, timeout=60)
        assert answer.ok
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        preflight = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
        assert not requests.options(f"{server}/v1/stylize", headers=preflight, timeout=60).ok


def test_private_metadata_is_dropped_unless_it_is_to_stay(server: str) -> None:
    exif = Image.Exif()
    exif[Base.Artist], exif[Base.ImageDescription] = "Somebody", "My street"
    exif.get_ifd(Base.GPSInfo)[GPS.GPSLatitude] = (47.0, 22.0, 1.0)
    data = data_of(photo(), "JPEG", exif=exif)
    for keep, artist in (("false", None), ("true", "Somebody")):
        answer = ask(server, {"photo": data}, style="great-wave", format="jpeg", keep_metadata=keep)
        with Image.open(io.BytesIO(answer.content)) as image:
            found = image.getexif()
        assert (found.get(Base.Artist), dict(found.get_ifd(Base.GPSInfo))) == (artist, {})


def test_names_of_files_go_nowhere_but_back(server: str, service: Service) -> None:
    """Shortened, without folders and what cannot be shown."""
    seen = []
    submit = service.submit

    def spy(photo: Any, request: StylizeRequest, **more: Any) -> Any:
        seen.extend([photo, *(row.image for row in request.style)])
        return submit(photo, request, **more)

    service.submit = spy
    try:
        for name, shown in {
            "../../evil.png": "evil.png",
            "/etc/passwd": "passwd",
            "C:\\x.png": "x.png",
            "<b>.png": "<b>.png",
            "a\0b": "ab",
            "x" * 5000: None,
            f"{'x' * 300}.jpeg": f"{'x' * 48}…{'x' * 6}.jpeg",
            "con": "con",
            ".": "photo",
            "": "photo",
            "style-1": "style-1",
            "é\u202e.png": "é.png",
        }.items():
            answer = ask(server, {"photo": (name, b"no picture"), "style": (name, STYLE)})
            if shown is None:
                told(answer, "malformed")
            else:
                found = told(answer, "invalid")
                assert (found["option"], found["detail"].partition(":")[0]) == ("photo", shown)
        nameless = [("photo", ("a.jpg", PHOTO)), ("style", ("", STYLE)), ("style", ("", b"no picture"))]
        found = told(ask(server, nameless), "invalid")
        assert (found["option"], found["detail"].partition(":")[0]) == ("style", "style 2")
    finally:
        del service.submit
    assert {path.name for path in seen} == {"photo-1", "style-1", "style-2"}
    assert all(path.parent.parent == service.place for path in seen)


# -- one definition -------------------------------------------------------------------------------------------


def test_the_form_has_the_fields_of_the_request_and_few_of_its_own(server: str, service: Service) -> None:
    document = requests.get(f"{server}/openapi.json", timeout=60).json()
    operation = document["paths"]["/v1/stylize"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    both = {**StylizeRequest.options, **OutputOptions.options}
    assert {*OWN} == {"photo", "weight", "format", "recipe"}
    assert not {*OWN} & {*both}
    assert {*form["properties"]} == {*FIELDS} == {*OWN} | {*both}
    assert form["properties"]["max_memory"]["type"] == "string"
    for name, option in both.items():
        found = form["properties"][name]
        assert found["description"].startswith(option.help)
        words = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
        for bound, limit in option.limits.items():
            assert found[words[bound]] == limit, name
    assert form["properties"]["style"]["items"]["anyOf"][0]["enum"] == [row.name for row in service.styles]
    assert form["properties"]["steps"]["maximum"] == service.limits.steps
    assert form["properties"]["format"]["enum"] == [*FORMATS]


@pytest.mark.parametrize(
    "fields",
    [
        {"style": "great-wave"},
        {"style": "great-wave", "format": "jpeg"},
        {"preset": "quick", "steps": "1", "colors_by": "histogram"},
    ],
)
def test_a_client_may_fill_in_the_defaults(server: str, fields: dict[str, str]) -> None:
    document = requests.get(f"{server}/openapi.json", timeout=60).json()
    body = document["paths"]["/v1/stylize"]["post"]["requestBody"]["content"]["multipart/form-data"]
    properties = body["schema"]["properties"]
    defaults = {name: str(one["default"]).lower() for name, one in properties.items() if "default" in one}
    assert {"strength", "format", "recipe"} <= {*defaults}
    assert "92 if not given." in properties["jpeg_quality"]["description"]
    files = {"photo": PHOTO} | ({} if "style" in fields else {"style": ("x", STYLE)})
    answer = ask(server, files, **defaults | fields)
    assert answer.status_code == 200, answer.text


def test_every_error_is_documented(server: str) -> None:
    document = requests.get(f"{server}/openapi.json", timeout=60).json()
    assert "http" not in json.dumps(document)
    operation = document["paths"]["/v1/stylize"]["post"]
    for status in ("400", "401", "403", "408", "413", "415", "421", "422", "429", "500", "503"):
        assert operation["responses"][status]["content"].keys() == {MEDIA_TYPE}
    assert operation["responses"]["200"]["content"].keys() >= {"image/png", "image/jpeg"}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            assert one["description"], (method, path)


def test_every_limit_is_documented() -> None:
    fields = (field for field in dataclasses.fields(Limits) if field.name != "memory")  # which clients need not know
    values = {field.name: value for value, field in enumerate(fields, 31)}
    told = Limits(**values | {"upload": "31MB"}).told
    assert [int(number) for number in re.findall(r"\d+", told)] == [*values.values()]


def test_ways_to_send_a_key_are_documented(service: Service) -> None:
    with served(service, keys=Keys(["a-key-of-sixteen"])) as server:
        key = {"Authorization": "Bearer a-key-of-sixteen"}
        document = requests.get(f"{server}/openapi.json", headers=key, timeout=60).json()
    schemes = document["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"bearer", "basic"}
    assert {name for row in document["security"] for name in row} == {*schemes}
    busy = document["paths"]["/v1/stylize"]["post"]["responses"]
    assert "Retry-After" in busy["429"]["headers"]
    assert "Location" in busy["202"]["headers"]


def test_what_can_go_wrong_is_in_the_docs(project) -> None:
    page = (project / "docs" / "http.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z][a-z-]+)` \| (\d+) \|", page, re.MULTILINE)
    assert rows == [(name, str(status)) for name, (status, _) in PROBLEMS.items()]


def test_styles_health_and_counts(server: str, service: Service) -> None:
    styles = requests.get(f"{server}/v1/styles", timeout=60).json()["styles"]
    assert [row["name"] for row in styles] == [row.name for row in service.styles]
    assert styles[0]["artist"]
    assert requests.get(f"{server}/healthz", timeout=60).json() == {"status": "ok"}
    assert requests.get(f"{server}/readyz", timeout=60).json() == {"status": "ok"}

    def count(name: str) -> float:
        answer = requests.get(f"{server}/metrics", timeout=60)
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return next((float(line.split()[-1]) for line in answer.text.splitlines() if line.startswith(f"{name} ")), 0.0)

    names = (
        "impasto_pictures_total",
        'impasto_errors_total{kind="request"}',
        'impasto_jobs_total{end="done"}',
        'impasto_seconds_count{phase="painting"}',
        'impasto_seconds_count{phase="queued"}',
    )
    before = [count(name) for name in names]
    ask(server, style="great-wave")
    told(ask(server, {"photo": b"no picture"}, style="great-wave"), "invalid")
    after = [count(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1, 1, 2]
    assert count('impasto_workers_ready{queue="auto"}') == 1
    assert count('impasto_workers_memory_bytes{queue="auto"}') > 1e7
    assert count('impasto_queue_jobs{queue="auto"}') == 0


def test_many_at_once_get_each_their_own(server: str, service: Service) -> None:
    service.limits = replace(service.limits, jobs_per_client=20)
    sent = {seed: data_of(photo(seed=seed)) for seed in range(6)}
    alone = {seed: ask(server, {"photo": data}, style="great-wave").content for seed, data in sent.items()}
    found: dict[int, bytes] = {}
    threads = [
        threading.Thread(
            target=lambda s=seed: found.update({s: ask(server, {"photo": sent[s]}, style="great-wave").content})
        )
        for seed in sent
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone
    assert len({*alone.values()}) == len(alone)


def test_health_is_told_while_all_is_busy(server: str) -> None:
    begun(server)
    began = time.monotonic()
    for _ in range(20):
        assert requests.get(f"{server}/healthz", timeout=60).ok
    assert time.monotonic() - began < 30  # a loop that paints would need minutes
