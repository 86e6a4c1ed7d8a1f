"""Whole runs on this machine: each picture exactly once, whatever happens to whoever paints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from impasto.bulk.checking import status, verify
from impasto.bulk.local import LocalPool
from impasto.bulk.manifest import Rows
from impasto.bulk.run import BulkProgress, BulkRun
from impasto.bulk.stores import Store
from impasto.bulk.work import Row, Task, run_name
from impasto.cli.app import app
from impasto.core.threads import usable_cores
from impasto.errors import DataError, ImpastoError, OptionError, OutputError
from impasto.stylizer.request import StylizeRequest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")
NAMES = {"a.jpg", "b.png", "c.webp", "d.jpg", "more/e.jpg", "more/deep/f.png"}


Painted = tuple[BulkRun, list[BulkProgress]]


@pytest.fixture
def paint(here) -> Callable[..., Painted]:
    """Carries out a run, in this process unless `workers` are asked for."""

    def carry_out(source: Path | str, task: Task, workers: int | None = None, **more) -> Painted:
        run = BulkRun(str(source), task, here(task) if workers is None else LocalPool(task, workers), **more)
        return run, list(run.run())

    return carry_out


def rows(target: Path | str) -> list[Row]:
    return list(Rows(Store(target)))


def outputs(target: Path) -> set[str]:
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith((".impasto", "impasto-report"))}


def verified(target: Path | str):
    *_, last = verify(str(target), run_name())
    return last


def test_a_folder_is_painted_once_and_goes_on(photos: Path, tmp_path: Path, paint, task_for) -> None:
    target = tmp_path / "out"
    run, records = paint(photos, task_for(target), workers=2)
    assert (run.left.total, run.left.to_paint, run.tally.done, run.tally.failed) == (6, 6, 6, 0)
    assert outputs(target) == NAMES
    assert (records[-1].done, records[-1].total, records[-1].left) == (6, 6, 0)
    for row in rows(target):
        assert row.output_bytes == (target / row.output).stat().st_size
        assert row.source_bytes == (photos / row.id).stat().st_size
    before = {name: (target / name).stat().st_mtime_ns for name in NAMES}

    (photos / "new.jpg").write_bytes((photos / "a.jpg").read_bytes())
    run, _ = paint(photos, task_for(target))
    assert (run.left.total, run.left.done, run.left.to_paint) == (7, 6, 1)
    assert {name: (target / name).stat().st_mtime_ns for name in NAMES} == before
    assert Counter(row.id for row in rows(target)).most_common(1)[0][1] == 1
    assert verified(target).good == 7
    assert verified(target).faults == 0
    told = json.loads((target / "impasto-report.json").read_text())
    assert (told["done"], told["done_before"], told["total"]) == (1, 6, 7)
    assert "data:image/jpeg;base64," in (target / "impasto-report.html").read_text()
    found = status(str(target))
    assert (found.done, found.failed, found.running) == (7, 0, None)


def test_paintings_are_those_of_stylize_and_carry_their_recipe(photos: Path, tmp_path: Path, paint, task_for) -> None:
    from PIL import Image

    import impasto
    from impasto.stylizer.recipe import read_recipe

    paint(photos / "b.png", task_for(tmp_path / "out"))
    alone = impasto.stylize(photos / "b.png", "great-wave", engine="light")
    painted = Image.open(tmp_path / "out" / "b.png")
    assert painted.convert("RGB").tobytes() == alone.convert("RGB").tobytes()
    assert read_recipe(tmp_path / "out" / "b.png").request["style"][0]["style"] == "great-wave"


def test_a_bad_picture_is_a_row_and_tried_again_once(photos: Path, tmp_path: Path, paint, task_for) -> None:
    target = tmp_path / "out"
    (photos / "bad.jpg").write_bytes(b"no picture")
    (photos / "empty.png").write_bytes(b"")
    run, records = paint(photos, task_for(target))
    assert (run.tally.done, run.tally.failed) == (6, 2)
    said = {record.row.id: record.row.error for record in records if record.row is not None and record.row.error}
    assert said.keys() == {"bad.jpg", "empty.png"}
    assert said["empty.png"].startswith(f"{photos}/empty.png: empty (0 bytes)")
    assert run.tally.kinds == {"ImageError": 2}

    (photos / "empty.png").write_bytes((photos / "b.png").read_bytes())
    run, _ = paint(photos, task_for(target))
    assert (run.left.failed_before, run.tally.done, run.tally.failed) == (2, 1, 1)
    run, _ = paint(photos, task_for(target))
    assert (run.left.to_paint, run.left.given_up) == (0, 1)
    run, _ = paint(photos, task_for(target), retry_failed=2)
    assert (run.left.to_paint, run.tally.failed) == (1, 1)
    assert status(str(target)).errors == {"ImageError": 1}


def test_another_recipe_is_an_error_unless_it_is_asked_for(photos: Path, tmp_path: Path, paint, task_for) -> None:
    target = tmp_path / "out"
    paint(photos, task_for(target))
    for other, differs in [
        ({"style": "the-scream"}, "`style` was"),
        ({"output": {"jpeg_quality": 50}}, "`output` was"),
        ({"format": "png"}, '`format` was not given, and is "png"'),
        ({"options": {"strength": 0.5}}, "`strength` was not given, and is 0.5"),
    ]:
        with pytest.raises(OptionError, match="painted by another recipe") as told:
            paint(photos, task_for(target, **other))
        assert differs in str(told.value)
    before = {name: (target / name).read_bytes() for name in NAMES}
    run, _ = paint(photos, task_for(target, "the-scream"), new_recipe=True)
    assert run.tally.done == 6
    assert all((target / name).read_bytes() != before[name] for name in NAMES)
    run, _ = paint(photos, task_for(target, "the-scream"))
    assert run.left.to_paint == 0
    assert verified(target).faults == 0
    assert status(str(target)).done == 6


def test_rows_of_a_manifest_have_options_of_their_own(photos: Path, tmp_path: Path, paint, task_for) -> None:
    manifest, target = photos / "rows.csv", tmp_path / "out"
    manifest.write_text("path,id,style,strength\na.jpg,one,the-scream,\na.jpg,two,,0\nb.png,three,nosuch,\n")
    run, records = paint(manifest, task_for(target))
    assert outputs(target) == {"one.jpg", "two.jpg"}
    assert (run.tally.done, run.tally.failed) == (2, 1)
    assert (target / "one.jpg").read_bytes() != (target / "two.jpg").read_bytes()
    (said,) = [record.row.error for record in records if record.row is not None and record.row.error]
    assert said.startswith("three: ")
    assert "nosuch" in said
    assert len({row.recipe for row in rows(target)}) == 3
    manifest.write_text("path,id,style,strength\na.jpg,one,great-wave,\n")
    with pytest.raises(OptionError, match="one: was painted with other options than its row has now"):
        paint(manifest, task_for(target))
    run, _ = paint(manifest, task_for(target), new_recipe=True)
    assert run.tally.done == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,id\na.jpg,x\nb.png,x\n", "'x' is the id of two pictures"),
        ("path,id\na.jpg,x.bmp\nb.png,x.png\n", "x.bmp and x.png would both become x.png"),
    ],
)
def test_no_two_share_an_output(photos: Path, tmp_path: Path, paint, task_for, text: str, said: str) -> None:
    (photos / "rows.csv").write_text(text)
    with pytest.raises(OptionError, match=said):
        paint(photos / "rows.csv", task_for(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "path,stlye\na.jpg,x\n"), ("b.jsonl", '{"path": '), ("c.jsonl", "")]
)
def test_a_run_that_is_refused_leaves_nothing(
    photos: Path, tmp_path: Path, paint, task_for, name: str, text: str
) -> None:
    (photos / name).write_text(text)
    (tmp_path / "there").mkdir()
    for target in (tmp_path / "there", tmp_path / "new" / "out"):
        with pytest.raises(DataError):
            paint(photos / name, task_for(target))
    assert not (tmp_path / "new").exists()
    assert [*(tmp_path / "there").iterdir()] == []
    paint(photos, task_for(tmp_path / "there"))
    with pytest.raises(DataError):
        paint(photos / name, task_for(tmp_path / "there"))
    assert len(rows(tmp_path / "there")) == 6


def test_a_manifest_whose_rows_all_have_a_style_needs_no_other(photos: Path, tmp_path: Path) -> None:
    manifest, target = photos / "rows.csv", tmp_path / "out"
    command = ["bulk", str(manifest), str(target), "--workers", "1"]
    manifest.write_text("path,style\na.jpg,the-scream\nb.png,\n")
    told = CliRunner().invoke(app, command)
    assert (told.exit_code, target.exists()) == (2, False)
    assert "the row of b.png has no style" in told.stderr
    manifest.write_text("path,style\na.jpg,the-scream\nb.png,great-wave\n")
    assert CliRunner().invoke(app, command).exit_code == 0
    assert outputs(target) == {"a.jpg", "b.png"}
    told = CliRunner().invoke(app, ["bulk", "--status", "--verify", str(target)])
    assert (told.exit_code, told.exception.__class__) == (2, SystemExit)
    assert "give one of them" in told.stderr


def test_the_order_of_rows_with_styles_of_their_own_does_not_matter(photos: Path, tmp_path: Path) -> None:
    manifest, target = photos / "rows.csv", tmp_path / "out"
    command = ["bulk", str(manifest), str(target), "--workers", "1", "--engine", "light"]
    manifest.write_text("path,style\na.jpg,great-wave\n")
    assert CliRunner().invoke(app, command).exit_code == 0
    told = json.loads((target / "impasto-report.json").read_text())["recipe"]
    assert "style" not in told["request"]
    assert set(told["used"]) == {"model gallery", "model universal"}

    manifest.write_text("path,style\nb.png,the-scream\na.jpg,great-wave\n")
    assert CliRunner().invoke(app, command).exit_code == 0
    assert [row.id for row in rows(target)].count("a.jpg") == 1
    assert outputs(target) == {"a.jpg", "b.png"}


def test_a_target_goes_on_whose_recipe_has_the_style_of_a_row(photos: Path, tmp_path: Path, paint, task_for) -> None:
    """As the version before wrote it."""
    manifest, target = photos / "rows.csv", tmp_path / "out"
    manifest.write_text("path,style\na.jpg,great-wave\n")
    paint(manifest, task_for(target))
    manifest.write_text("path,style\nb.png,the-scream\na.jpg,great-wave\n")
    done = CliRunner().invoke(app, ["bulk", str(manifest), str(target), "--workers", "1", "--engine", "light"])
    assert done.exit_code == 0, done.stderr
    assert [row.id for row in rows(target)].count("a.jpg") == 1


def test_a_target_without_a_name_is_refused(photos: Path, task_for, paint) -> None:
    with pytest.raises(OptionError, match="the name of a folder is empty"):
        paint(photos, task_for(""))


def test_targets_that_are_refused(photos: Path, tmp_path: Path, paint, task_for) -> None:
    for target in (photos, photos / "painted", tmp_path):
        with pytest.raises(OutputError, match="lie within each other"):
            paint(photos, task_for(target))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file: is a file; give a folder"):
        paint(photos, task_for(tmp_path / "file"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds files that no such run has put there, such as letter\.txt"):
        paint(photos, task_for(tmp_path / "full"))
    paint(photos, task_for(tmp_path / "full"), force=True)
    assert outputs(tmp_path / "full") == NAMES | {"letter.txt"}
    with pytest.raises(OptionError, match="holds folders: ask for the same"):
        paint(photos, task_for(tmp_path / "full", layout="tar"))
    with pytest.raises(DataError, match="no run has painted there"):
        status(str(photos))


def test_what_is_wrong_with_the_task_is_told_before_any_picture(photos: Path, tmp_path: Path, paint, task_for) -> None:
    with pytest.raises(ImpastoError, match="grate-wave"):
        paint(photos, task_for(tmp_path / "out", "grate-wave"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures or films"):
        paint(tmp_path / "empty", task_for(tmp_path / "out"))


def test_names_of_any_bytes_and_one_that_is_too_long(tmp_path: Path, photos: Path, paint, task_for) -> None:
    odd = tmp_path / "a::b"
    names = ["\udcff.jpg", "new\nline.jpg", "*?[x]{a,b}.jpg", "100%#.jpg", "n" * 251 + ".jpg"]
    odd.mkdir()
    for name in names:
        (odd / name).write_bytes((photos / "a.jpg").read_bytes())
    run, _ = paint(odd, task_for(tmp_path / "out::put"))
    assert (run.tally.done, run.tally.failed) == (5, 0)
    assert outputs(tmp_path / "out::put") == set(names)
    assert verified(tmp_path / "out::put").good == 5
    run, records = paint(odd, task_for(tmp_path / "other", format="webp"))
    assert (run.tally.done, run.tally.failed) == (4, 1)
    said = next(record.row.error for record in records if record.row is not None and record.row.error)
    assert "nnn.webp: the name is too long for this store" in said
    run, _ = paint(odd, task_for(tmp_path / "other", format="webp"), retry_failed=0)
    assert run.left.given_up == 1


def test_a_shard_that_is_cut_short_is_a_row(photos: Path, tmp_path: Path, paint, task_for) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.add(photos / "a.jpg", "a.jpg")
        tar.add(photos / "b.png", "b.png")
        end = tar.offset  # of the picture, padded
    os.truncate(tmp_path / "in.tar", end - 1)
    run, _ = paint(tmp_path / "in.tar", task_for(tmp_path / "out"))
    assert (run.tally.done, run.tally.failed, run.tally.kinds) == (2, 1, {"DataError": 1})


def test_tar_shards_in_and_out(photos: Path, tmp_path: Path, paint, task_for) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name in ("a.jpg", "b.png"):
            tar.add(photos / name, name)
    run, _ = paint(tmp_path / "in.tar", task_for(tmp_path / "out", layout="tar"))
    assert run.tally.done == 2
    (shard,) = (tmp_path / "out" / "shards").iterdir()
    with tarfile.open(shard) as tar:
        assert tar.getnames() == ["in/a.jpg", "in/a.json", "in/b.json", "in/b.png"]
        assert json.load(tar.extractfile("in/a.json"))["request"]["style"][0]["style"] == "great-wave"
    assert verified(tmp_path / "out").good == 2
    run, _ = paint(tmp_path / "in.tar", task_for(tmp_path / "out", layout="tar"))
    assert run.left.to_paint == 0


def test_what_is_damaged_or_missing_is_found_and_painted_again(photos: Path, tmp_path: Path, paint, task_for) -> None:
    target = tmp_path / "out"
    paint(photos, task_for(target, "the-scream"))
    paint(photos, task_for(target), new_recipe=True)
    whole = (target / "a.jpg").read_bytes()
    (target / "a.jpg").write_bytes(whole[:-20] + b"x" * 20)  # its recipe is still there
    (target / "b.png").unlink()
    (target / "other.jpg").write_bytes(b"x")
    found = verified(target)
    assert (found.good, found.damaged, found.missing, found.orphaned, found.twice) == (4, 1, 1, 1, 0)
    assert found.names == {"damaged": ["a.jpg"], "missing": ["b.png"], "orphaned": ["other.jpg"]}
    run, _ = paint(photos, task_for(target))
    assert (run.left.to_paint, run.tally.done, run.tally.found) == (2, 2, 0)
    assert (target / "a.jpg").read_bytes() == whole
    found = verified(target)
    assert (found.good, found.faults) == (6, 1)


def test_an_output_whose_row_was_lost_is_found_again(photos: Path, tmp_path: Path, paint, task_for) -> None:
    target = tmp_path / "out"
    paint(photos, task_for(target))
    before = (target / "a.jpg").stat().st_mtime_ns
    for path in (target / ".impasto" / "done").iterdir():
        path.unlink()
    (target / "b.png").write_bytes((target / "c.webp").read_bytes())  # of another photo
    run, _ = paint(photos, task_for(target))
    assert (run.tally.done, run.tally.found) == (6, 5)
    assert (target / "a.jpg").stat().st_mtime_ns == before
    assert verified(target).good == 6


def children_of(pool: LocalPool) -> list[int]:
    return [worker._process.pid for worker in pool._workers]


def test_a_worker_that_is_killed_costs_no_picture(
    photos: Path, tmp_path: Path, task_for, slowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(monkeypatch, 0.2)
    for number in range(6):
        (photos / f"{number}.jpg").write_bytes((photos / "a.jpg").read_bytes())
    task = task_for(tmp_path / "out")
    pool = LocalPool(task, 2)
    run = BulkRun(str(photos), task, pool)
    for record in run.run():
        if record.row is not None and pool.deaths < 2 and record.done in (2, 5):
            os.kill(children_of(pool)[0], signal.SIGKILL)
    assert (run.tally.done, run.tally.failed) == (12, 0)
    assert run.tally.deaths >= 1
    assert run.tally.twice == 0
    assert Counter(row.id for row in rows(tmp_path / "out")).most_common(1)[0][1] == 1
    assert verified(tmp_path / "out").good == 12


def test_a_picture_that_kills_whoever_paints_it_is_given_up(
    photos: Path, tmp_path: Path, paint, task_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly").mkdir()
    (tmp_path / "deadly" / "sitecustomize.py").write_text(
        "import sys, os, signal, importlib.abc\n"
        "class Deadly(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'impasto.bulk.local':\n"
        "            sys.meta_path.remove(self)\n"
        "            from impasto.bulk.worker import Worker\n"
        "            paint = Worker._painted\n"
        "            def deadly(self, item, row):\n"
        "                if item.id == 'c.webp':\n"
        "                    os.kill(os.getpid(), signal.SIGKILL)\n"
        "                return paint(self, item, row)\n"
        "            Worker._painted = deadly\n"
        "sys.meta_path.insert(0, Deadly())\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'deadly'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    run, records = paint(photos, task_for(tmp_path / "out"), workers=2)
    assert (run.tally.done, run.tally.failed, run.tally.deaths) == (5, 1, 2)
    said = next(record.row.error for record in records if record.row is not None and record.row.error)
    assert said == "c.webp: twice the process that painted it ended (SIGKILL, perhaps for lack of memory)"


COMMAND = (sys.executable, "-c", "from impasto.cli.app import main; main()", "bulk")


def start(photos: Path, target: Path | str, *more: str) -> subprocess.Popen[str]:
    given = (*COMMAND, str(photos), str(target), "--style", "great-wave", "--engine", "light", "--workers", "1", *more)
    return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(target: Path, count: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        shards = (target / ".impasto" / "rows").glob("*.jsonl")
        if sum(path.read_text().count("\n") for path in shards) >= count:
            return
        time.sleep(0.02)
    raise TimeoutError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_hand(
    photos: Path, tmp_path: Path, slowly, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    slowly(monkeypatch, 0.5)
    command = start(photos, tmp_path / "out", "--json-progress")
    wait_for_rows(tmp_path / "out", 1)
    command.send_signal(number)
    said, errors = command.communicate(timeout=40)
    assert command.returncode == 130, errors
    last = json.loads(said.splitlines()[-1])
    assert last["stopped"]
    assert 1 <= last["done"] < 6
    assert len(outputs(tmp_path / "out")) == last["done"] == len(rows(tmp_path / "out"))
    assert list((tmp_path / "out" / ".impasto" / "locks").iterdir()) == []


def test_the_one_who_hands_out_may_be_killed(
    photos: Path, tmp_path: Path, paint, task_for, slowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        slowly(patch, 0.3)
        command = start(photos, tmp_path / "out")
        wait_for_rows(tmp_path / "out", 2)
        second = start(photos, tmp_path / "out")
        _, errors = second.communicate(timeout=40)
        assert second.returncode == 2
        assert "paints there now; wait for it, or stop it" in errors
        command.kill()
        command.communicate()
    noted = len(rows(tmp_path / "out"))
    run, _ = paint(photos, task_for(tmp_path / "out"))
    assert noted >= 2
    assert run.left.done + run.tally.done == 6
    assert run.left.done in (noted, noted + 1)  # one may have been noted while it was killed
    assert outputs(tmp_path / "out") == NAMES
    assert Counter(row.id for row in rows(tmp_path / "out")).most_common(1)[0][1] == 1
    assert verified(tmp_path / "out").good == 6
    assert [path.name for path in (tmp_path / "out" / ".impasto").iterdir() if path.name == "scratch"] == []


def test_no_permission_stops_and_can_be_gone_on_with(photos: Path, tmp_path: Path, paint, task_for) -> None:
    target = tmp_path / "out"
    (target).mkdir()
    (target / "more").write_text("a file where a folder should be")
    with pytest.raises(OutputError, match="more"):
        paint(photos, task_for(target), force=True)
    noted = len(rows(target))
    (target / "more").unlink()
    run, _ = paint(photos, task_for(target), force=True)
    assert (run.left.done, run.tally.done) == (noted, 6 - noted)
    assert verified(target).good == 6


def test_closing_a_run_ends_it_at_once(photos: Path, tmp_path: Path, task_for) -> None:
    task = task_for(tmp_path / "out")
    pool = LocalPool(task, 1)
    records = BulkRun(str(photos), task, pool).run()
    next(records)
    next(records)
    pids = children_of(pool)
    records.close()
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert threading.active_count() == 1 or not any(one.name == "lock" for one in threading.enumerate())


def test_memory_decides_how_many_paint(photos: Path, tmp_path: Path, task_for) -> None:
    task = task_for(tmp_path / "out", memory=150_000_000)
    pool = LocalPool(task)
    pool.begin(None)
    try:
        assert pool._count == 1
        assert pool._each.threads == usable_cores()
        assert pool._each.memory == 150_000_000
    finally:
        pool.close()


def test_a_share_of_memory_too_small_for_torch_decides_for_all(photos: Path, tmp_path: Path, paint) -> None:
    """All of it would do for torch, and what the first process tells is not what those with a share paint by."""
    request = StylizeRequest.of(style="great-wave").to_json()
    for run in ("one", "two"):
        task = Task(request, {}, str(tmp_path / "out"), run=run, memory=600_000_000)
        done, _ = paint(photos, task, workers=2)
        assert done.tally.failed == 0
        assert done.left.to_paint == (6 if run == "one" else 0)
    told = json.loads((tmp_path / "out" / "impasto-report.json").read_text())
    assert told["recipe"]["request"]["engine"] == "light"


def test_any_store(photos: Path, tmp_path: Path) -> None:
    """Through a plug-in of fsspec that fails now and then, as a worker's process finds it."""
    plug = tmp_path / "plug"
    (plug / "shaky-1.dist-info").mkdir(parents=True)
    (plug / "shaky-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky\nVersion: 1\n")
    (plug / "shaky-1.dist-info" / "entry_points.txt").write_text("[fsspec.specs]\nshaky = shaky:Shaky\n")
    (plug / "shaky.py").write_text(
        "import random\nfrom fsspec.implementations.local import LocalFileSystem\n"
        "def shaken(name):\n"
        "    def call(self, *given, **more):\n"
        "        if random.random() < .1: raise OSError('503 Slow Down')\n"
        "        return getattr(LocalFileSystem, name)(self, *given, **more)\n"
        "    return call\n"
        "class Shaky(LocalFileSystem):\n    protocol = 'shaky'\n"
        "for name in ('cat_file', 'put_file', 'pipe_file', 'mv', 'ls', 'info'): setattr(Shaky, name, shaken(name))\n"
    )
    path = os.pathsep.join([str(plug), *filter(None, [os.environ.get("PYTHONPATH")])])
    given = (*COMMAND, f"shaky://{photos}", f"shaky://{tmp_path}/out", "--style", "great-wave", "--engine", "light")
    done = subprocess.run(
        given, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "out") == NAMES
    assert verified(tmp_path / "out").good == 6


def test_films_go_through_the_same_run(photos: Path, tmp_path: Path, paint, task_for) -> None:
    av = pytest.importorskip("av")
    pytest.importorskip("cv2")
    import numpy as np

    with av.open(str(photos / "clip.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((40, 48, 3), 50 * number, np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    (photos / "broken.mkv").write_bytes(b"no film")
    run, _ = paint(photos, task_for(tmp_path / "out"))
    assert (run.tally.done, run.tally.failed, run.tally.films) == (7, 1, 1)
    with av.open(str(tmp_path / "out" / "clip.mp4")) as film:
        assert len(list(film.decode(video=0))) == 4
    assert verified(tmp_path / "out").good == 7
    run, _ = paint(photos, task_for(tmp_path / "out"), retry_failed=0)
    assert run.left.to_paint == 0


def test_an_animation_is_a_picture_of_which_the_report_tells(tmp_path: Path, paint, task_for) -> None:
    (tmp_path / "photos").mkdir()
    frames = [Image.new("RGB", (40, 36), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "photos" / "a.gif", save_all=True, append_images=frames[1:])
    paint(tmp_path / "photos", task_for(tmp_path / "out"))
    (told,) = json.loads((tmp_path / "out" / "impasto-report.json").read_text())["notes"]["first"]
    assert told["id"] == "a.gif"
    assert told["notes"] == ["a.gif: is animated, and its first frame is painted: `impasto video` paints them all"]
    assert "Notes: 1" in (tmp_path / "out" / "impasto-report.html").read_text()


def test_options_that_would_not_be_obeyed_are_errors(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    for more, said in ((("--shard-size", "10MB"), "add --tar"), (("--json",), "give --json-progress")):
        _, told = start(photos, target, *more).communicate(timeout=120)
        assert said in told
        assert not target.exists()


def test_no_source_is_replaced(photos: Path, tmp_path: Path, paint, task_for) -> None:
    """Not by its own painting, nor by that of another."""
    before = {path: path.read_bytes() for path in photos.glob("*.*")}
    (tmp_path / "link").symlink_to(photos)
    rows = f"path,id\n{photos}/a.jpg,d.jpg\n{photos}/d.jpg,a.jpg\n"
    (tmp_path / "crosswise.csv").write_text(rows)
    (tmp_path / "linked.csv").write_text(rows.replace("photos", "link"))
    for source in (tmp_path / "crosswise.csv", tmp_path / "linked.csv", f"{photos}/*.jpg"):
        with pytest.raises(OptionError, match="would take the place of the source"):
            paint(source, task_for(photos), force=True)
    assert {path: path.read_bytes() for path in before} == before
    run, _ = paint(f"{photos}/*.jpg", task_for(photos, format="webp"), force=True)
    assert run.tally.done == 2
    assert {path: path.read_bytes() for path in before} == before
