"""Nothing is lost: not what was there before, not the disk's tidiness, not an input."""

from __future__ import annotations

import errno
import os
import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from impasto import files
from impasto.errors import OutputError
from impasto.files import atomic_path
from impasto.imaging import as_picture, check_output, encode, read, write

from .imaging_samples import gradient, saved

PICTURE = as_picture(gradient())


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


def refusal(path: Path | str, **options: object) -> str:
    """The sentence, which asking before and writing must agree on."""
    sentences = []
    for attempt in (check_output, lambda *a, **k: write(PICTURE, *a, **k)):
        with pytest.raises(OutputError) as caught:
            attempt(path, **options)
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]
    assert sentences[0].isprintable()
    return sentences[0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_existing_output(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"precious")
    assert refusal(path) == f"{path}: exists already; give another name, or `force` to replace it"
    assert path.read_bytes() == b"precious"
    write(PICTURE, path, force=True)
    assert np.array_equal(read(path).integers(8), gradient())
    assert names(tmp_path) == ["out.png"]


@pytest.mark.parametrize("way", ["same", "dotted", "symlink", "hard link", "linked folder"])
def test_an_input_is_never_overwritten(way: str, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(saved(gradient(), "PNG"))
    before = photo.read_bytes()
    output = tmp_path / "out.png"
    if way == "same":
        output = photo
    elif way == "dotted":
        (tmp_path / "sub").mkdir()
        output = tmp_path / "sub" / ".." / "photo.png"
    elif way == "symlink":
        output.symlink_to(photo)
    elif way == "hard link":
        output.hardlink_to(photo)
    else:
        (tmp_path / "door").symlink_to(tmp_path)
        output = tmp_path / "door" / "photo.png"
    inputs = ["-", tmp_path / "gone.png", str(photo)]
    for force in (False, True):
        sentence = refusal(output, inputs=inputs, force=force)
        assert sentence == f"{output}: is the input {photo}, which would be lost; give another name"
    assert photo.read_bytes() == before
    assert "exists already" in refusal(output, inputs=inputs, allow_input=True)
    write(PICTURE, output, inputs=inputs, allow_input=True, force=True)
    assert output.read_bytes() == encode(PICTURE, "png")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write(PICTURE, link, force=True)
    assert link.is_symlink()
    assert real.read_bytes() == encode(PICTURE, "png")
    dangling = tmp_path / "dangling.png"
    dangling.symlink_to(tmp_path / "new.png")
    write(PICTURE, dangling)
    assert (tmp_path / "new.png").is_file()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    for path, part in {
        "nowhere/out.png": f"the folder {tmp_path}/nowhere does not exist; create it first",
        "file/out.png": f"{tmp_path}/file is no folder; write elsewhere",
        "folder.png": "a folder; give the name of a file in it",
        "pipe.png": "not a plain file; give another name, or - for standard output",
        "loop.png": "cannot be written (Too many levels of symbolic links); give the path of a plain file",
        f"{'x' * 300}.png": "cannot be written (File name too long); give the path of a plain file",
    }.items():
        assert refusal(tmp_path / path, force=True) == f"{tmp_path / path}: {part}"
    assert "a\\x00b.png: not a possible file name (embedded null byte)" in refusal(f"{tmp_path}/a\0b.png")
    assert names(tmp_path) == ["file", "folder.png", "loop.png", "pipe.png"]


def test_unknown_suffix(tmp_path: Path) -> None:
    assert refusal(tmp_path / "out.xyz") == (
        f"{tmp_path}/out.xyz: pictures cannot be written as .xyz; use one of .jpg .png .webp .tif .avif .heic"
    )
    assert refusal(tmp_path / "out") == (
        f"{tmp_path}/out: no suffix tells the format; use one of .jpg .png .webp .tif .avif .heic"
    )
    (tmp_path / "there").mkdir()
    for folder in (f"{tmp_path}/out/", f"{tmp_path}/out.png/", f"{tmp_path}/there"):
        inside = f"{folder.removesuffix('/')}/painting.png"
        assert refusal(folder) == f"{folder}: is the name of a folder, need that of a file, such as {inside}"
    check_output(tmp_path / "OUT.JPG")
    check_output(tmp_path / "out", format="png")


def test_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert refusal(tmp_path / "out.png") == (
        f"{tmp_path}/out.png: the folder {tmp_path} cannot be written; write elsewhere"
    )


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_only_the_attempt_shows_to_be_read_only(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object) -> int:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=rf"the folder {tmp_path} cannot be written \({os.strerror(code)}\)"):
        write(PICTURE, tmp_path / "out.png")


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The kernel stops files at ``size`` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room(tmp_path: Path) -> None:
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with room_for(512), pytest.raises(OutputError) as caught:
        write(PICTURE, path, force=True, compression=0)
    assert str(caught.value) == (f"{path}: no room on the disk (File too large); free some space or write elsewhere")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, full)
            with pytest.raises(OutputError, match=rf"no room on the disk \({os.strerror(code)}\)"):
                write(PICTURE, tmp_path / "out.png")
    assert names(tmp_path) == []


def test_what_is_temporary_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_flushes", True)  # to be put back
    files.leave_unflushed()
    monkeypatch.delattr(os, "fsync")
    write(PICTURE, tmp_path / "out.png")
    assert np.array_equal(read(tmp_path / "out.png").integers(8), PICTURE.integers(8))
    assert names(tmp_path) == ["out.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit, ValueError("x"), OSError("no number")])
def test_no_litter_whatever_happens(error: BaseException | type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    def half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            assert names(tmp_path) == sorted([temporary.name, "out.bin"])
            raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        half_way()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("function", ["open", "fsync", "replace"])
def test_interrupted_anywhere(function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(os, function)

    def interrupted(*args: object) -> None:
        if function == "open":
            real(*args)  # the file exists already when the signal arrives
        raise KeyboardInterrupt

    monkeypatch.setattr(os, function, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(PICTURE, tmp_path / "out.png")
    assert names(tmp_path) == []


def test_errors_about_other_things_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out.bin"):
        (tmp_path / "missing").read_bytes()
    with pytest.raises(ConnectionResetError), atomic_path(tmp_path / "out.bin"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    assert names(tmp_path) == []


def test_the_temporary_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with atomic_path("out.gif") as temporary:
        os.chdir("elsewhere")  # a relative path still means what it meant
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".gif")
        assert not (tmp_path / "out.gif").exists()
        temporary.write_bytes(b"done")
    assert (tmp_path / "out.gif").read_bytes() == b"done"


def test_rights_follow_the_umask(tmp_path: Path, umask: None) -> None:
    path = tmp_path / "out.png"
    write(PICTURE, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o444)
    write(PICTURE, path, force=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_atomic_path_refuses_folders_and_devices(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (Path(os.devnull), "not a regular file")):
        with pytest.raises(OutputError, match=reason), atomic_path(path):
            pytest.fail("the block must not run")
    assert Path(os.devnull).is_char_device()


def test_a_codec_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    def broken(*_: object, **__: object) -> None:
        raise KeyError("AVIF")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OutputError, match=r"out\.avif: AVIF could not be made \('AVIF'\); try \.png"):
        write(PICTURE, tmp_path / "out.avif")


def test_standard_output_is_never_refused_for_existing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").touch()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    check_output("-")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_takes_no_files() -> None:
    picture = as_picture(gradient())
    with pytest.raises(OutputError, match=r"^/proc/x.png: the folder /proc (takes no files|cannot be written)"):
        write(picture, "/proc/x.png")
