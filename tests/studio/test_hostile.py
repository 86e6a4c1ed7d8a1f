"""Hostile files, as photos, styles and masks: always an error that the sender can understand, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from impasto.studio.service import Service

from .studio_samples import data_of, files_of_jobs, hostile, laden, photo, until

FILES = dict(hostile())
LADEN = dict(laden())
MEMORY = 600e6  # bytes by which a worker may have grown at most, for files that are refused by their header


def largest(pid: int) -> int:
    """Bytes that a process has held at most."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def send(server: str, files: dict[str, bytes], **fields: str) -> requests.Response:
    parts = {name: (f"../{name}\u202e.png", data) for name, data in files.items()}
    return requests.post(f"{server}/v1/stylize", files=parts, data=fields, timeout=60)


def test_there_are_enough_of_them() -> None:
    assert len(FILES) + len(LADEN) >= 150
    assert len({*FILES.values()}) >= 0.95 * len(FILES)
    assert max(map(len, FILES.values())) < 2_000_000


def test_each_is_refused(server: str, service: Service) -> None:
    starts, before = service.keepers[0].starts, largest(service.keepers[0].pid)
    wrong = {}
    for name, data in FILES.items():
        answer = send(server, {"photo": data}, style="great-wave")
        body = answer.text
        if answer.status_code != 422 or answer.json()["type"] != "urn:impasto:problem:invalid" or "/tmp" in body:
            wrong[name] = (answer.status_code, body[:200])
    assert wrong == {}
    assert service.keepers[0].starts == starts, "a process died"
    assert largest(service.keepers[0].pid) - before < MEMORY
    until(lambda: files_of_jobs(service) == [])


@pytest.mark.parametrize("role", ["style", "mask", "init"])
def test_each_is_refused_in_other_roles(server: str, service: Service, role: str) -> None:
    starts, good, wrong = service.keepers[0].starts, data_of(photo()), {}
    fields = {"style": {}, "mask": {"style": "great-wave"}, "init": {"steps": "1", "size": "48"}}[role]
    for name, data in [*FILES.items()][:: 4 if role == "init" else 3]:
        files = {"photo": good, role: data} | ({"style": good} if role == "init" else {})
        answer = send(server, files, **fields)
        if answer.status_code != 422 or answer.json()["type"] != "urn:impasto:problem:invalid":
            wrong[name] = (answer.status_code, answer.text[:200])
    small = {name for name in wrong if name.startswith(("png 1x1", "png 8x8"))}  # a mask may be as small as that
    assert wrong.keys() - (small if role == "mask" else set()) == set(), wrong
    assert service.keepers[0].starts == starts, "a process died"


def test_what_is_false_about_a_picture_goes_no_further(server: str, service: Service) -> None:
    """Pictures with metadata that leads nowhere are painted without it, or refused."""
    starts = service.keepers[0].starts
    for name, data in LADEN.items():
        for keep in ("false", "true"):
            answer = send(server, {"photo": data}, style="great-wave", format="jpeg", keep_metadata=keep)
            assert answer.status_code in (200, 422), (name, answer.text)
            assert b"<script>" not in answer.content, name
    assert service.keepers[0].starts == starts, "a process died"


def test_what_is_told_is_never_html(server: str) -> None:
    markup = "<script>alert(1)</script>"
    for fields in ({"style": markup}, {markup: "1"}, {"style": "great-wave", "device": markup}):
        answer = send(server, {"photo": data_of(photo())}, **fields)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
