"""The same against S3, as moto's server speaks it on loopback; now and then it asks for patience."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from impasto.bulk.checking import verify
from impasto.bulk.manifest import Rows
from impasto.bulk.run import BulkRun
from impasto.bulk.stores import Store
from impasto.bulk.work import run_name

pytest.importorskip("moto")
pytest.importorskip("s3fs")
# aiobotocore closes its sockets when the program ends, which is later than pytest looks.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
EVERY = 9  # requests, of which one is answered with 503


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    inner, count = DomainDispatcherApplication(create_backend_app), [0]

    def application(environment, answer):
        count[0] += 1
        if count[0] % EVERY or "/painted/" not in environment["PATH_INFO"]:
            return inner(environment, answer)
        answer("503 Slow Down", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code><Message>for a moment</Message></Error>"]

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    import s3fs

    from impasto.bulk.worker import _store

    _store.cache_clear()  # each server has a port of its own
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    _store.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("layout", ["folders", "tar"])
def test_from_a_bucket_into_another(s3: None, photos: Path, here, task_for, layout: str) -> None:
    import fsspec

    target = f"s3://painted/{layout}"
    bucket = fsspec.filesystem("s3")
    for name in ("photos", "painted"):
        bucket.makedirs(name, exist_ok=True)
    bucket.put(f"{photos}/", "photos/in/", recursive=True)
    for left in (6, 0):
        task = task_for(target, layout=layout)
        run = BulkRun("s3://photos/in", task, here(task))
        list(run.run())
        assert run.left.to_paint == left
    assert sorted(row.id for row in Rows(Store(target))) == sorted(
        ["a.jpg", "b.png", "c.webp", "d.jpg", "more/e.jpg", "more/deep/f.bmp"]
    )
    *_, found = verify(target, run_name())
    assert (found.good, found.faults) == (6, 0)
