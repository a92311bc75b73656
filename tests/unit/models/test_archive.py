"""An archive that can be read in two ways is refused by name, before torch reads it in the other one."""

import contextlib
import io
import os
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from imagejob_runner.exceptions import ModelError, StorageError
from imagejob_runner.models.program import load_program
from imagejob_runner.models.scan import scanned_program
from tests.tools.networks import Tiny
from tests.unit.models.programs import Json, rewritten

pytestmark = pytest.mark.model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plain(sound: Path) -> bytes:
    """The same without either, which is easier to forge."""
    return rewritten(sound, sound.with_name("plain.pt2")).read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_program(path, CPU, 16)
    assert f"model.program: {path.name} is refused: " in str(caught.value)
    assert "export the network again" in str(caught.value)
    return str(caught.value)


def taken_apart(data: bytes) -> tuple[bytes, bytes]:
    """Members and directory of an archive without ZIP64."""
    length, start = struct.unpack("<2I", data[-10:-2])
    return data[:start], data[start : start + length]


def moved(directory: bytes, by: int) -> bytes:
    """A directory whose members lie so many bytes further on."""
    made, at = bytearray(directory), 0
    while at < len(made):
        name, extra, comment = struct.unpack_from("<3H", made, at + 28)
        (offset,) = struct.unpack_from("<I", made, at + 42)
        struct.pack_into("<I", made, at + 42, offset + by)
        at += 46 + name + extra + comment
    return bytes(made)


def end_record(directory: bytes, start: int, comment: bytes = b"") -> bytes:
    count = directory.count(b"PK\1\2")
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, len(comment)) + comment


def hostile_graph(mark: Path) -> Callable[[Json], None]:
    """Makes sizes of the graph an expression that creates a file when torch evaluates it."""

    def change(model: Json) -> None:
        for value in model["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    return change


def two_directories(good: bytes, bad: bytes) -> bytes:
    """Python finds the directory right before the end record, which is `good`'s; torch the one at the offset, which is `bad`'s."""
    good_members, good_directory = taken_apart(good)
    bad_members, bad_directory = taken_apart(bad)
    assert len(good_directory) == len(bad_directory)
    start = len(bad_members) + len(good_members)
    # Python takes what lies between for something that stands before the archive, and adds its length to each offset.
    seen = moved(good_directory, len(bad_members) - len(bad_directory))
    return bad_members + good_members + bad_directory + seen + end_record(seen, start)


def test_the_archive_that_is_scanned_is_the_one_that_is_loaded(sound: Path, plain: bytes, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "two.pt2"
    bad = rewritten(sound, tmp_path / "bad.pt2", graph=hostile_graph(mark))
    path.write_bytes(two_directories(plain, bad.read_bytes()))
    with zipfile.ZipFile(path) as archive:
        assert b"__import__" not in archive.read(next(name for name in archive.namelist() if name.endswith("model.json")))
    assert "it has two directories" in refusal(path)
    assert not mark.exists()
    # It is what it says: torch itself runs it.
    with contextlib.suppress(Exception), path.open("rb") as file:
        torch.export.load(file)
    assert mark.exists()


def test_what_torch_and_python_write_is_loaded_as_it_is(sound: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.pt2"
    with zipfile.ZipFile(sound) as source, zipfile.ZipFile(wide, "w") as target:
        for name in source.namelist():
            with target.open(name, "w", force_zip64=True) as file:
                file.write(source.read(name))
    streamed = tmp_path / "streamed.pt2"
    with zipfile.ZipFile(sound) as source, streamed.open("wb") as file, zipfile.ZipFile(Unseekable(file), "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with zipfile.ZipFile(sound) as archive:
        expected = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    for path in (sound, wide, streamed):
        with scanned_program(path) as copy, zipfile.ZipFile(copy) as archive:
            assert {name.partition("/")[2]: archive.read(name) for name in archive.namelist()} == expected
            assert os.fstat(copy.fileno()).st_size <= path.stat().st_size + 100 * len(expected)
        images = torch.rand(3, 3, 16, 16)
        assert torch.allclose(load_program(path, CPU, 16).network(images), Tiny().eval()(images), atol=1e-6)


class Unseekable(io.RawIOBase):
    """A pipe, to which sizes must be written after the data."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._file.write(data)


def comment_with_an_end(plain: bytes, bad: bytes) -> bytes:
    """The end record's comment ends like an archive, and is one for who reads backwards."""
    members, directory = taken_apart(plain)
    return members + directory + end_record(directory, len(members), bad)


def with_gap(plain: bytes) -> bytes:
    members, directory = taken_apart(plain)
    return members + b"hidden" + directory + end_record(directory, len(members) + 6)


def with_gap_inside(plain: bytes) -> bytes:
    members, directory = taken_apart(plain)
    second = members.index(b"PK\3\4", 4)
    made = bytearray(moved(directory, 6))
    struct.pack_into("<I", made, 42, 0)
    return members[:second] + b"hidden" + members[second:] + bytes(made) + end_record(bytes(made), len(members) + 6)


def gap_before_the_end(plain: bytes) -> bytes:
    members, directory = taken_apart(plain)
    return members + directory + b"hidden" + end_record(directory, len(members))


def overlapping(plain: bytes) -> bytes:
    members, directory = taken_apart(plain)
    made = bytearray(directory)
    # The first member takes in the second one, header and data.
    size = struct.unpack_from("<I", made, 24)[0] + 200
    struct.pack_into("<2I", made, 20, size, size)
    head = bytearray(members)
    struct.pack_into("<2I", head, 18, size, size)
    return bytes(head) + bytes(made) + end_record(bytes(made), len(members))


def twice_the_same(plain: bytes) -> bytes:
    members, directory = taken_apart(plain)
    second = directory.index(b"PK\1\2", 4)
    made = directory + directory[:second]
    return members + made + end_record(made, len(members))


def renamed(plain: bytes) -> bytes:
    at = plain.index(b"models/model.json")
    return plain[:at] + b"models/hodel.json" + plain[at + 17 :]


def other_size_in_header(plain: bytes) -> bytes:
    return plain[:18] + struct.pack("<2I", 1, 1) + plain[26:]


def wide_end_elsewhere(plain: bytes, *, offset: int = 0, size: int = 0) -> bytes:
    members, directory = taken_apart(plain)
    count = directory.count(b"PK\1\2")
    start = len(members) + len(directory)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory) + size, len(members))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + offset, 1)
    return members + directory + record + locator + end_record(directory, len(members))


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        # Where the members of both archives take up as many bytes, the end record points to the directory of the other one.
        (comment_with_an_end, "bytes stand between its directory and its end record|it has two directories"),
        (lambda plain, bad: bad + plain, "bytes stand between its directory and its end record|it has two directories"),
        (lambda plain, _: b"#!/bin/sh\n" + plain, "10 bytes stand between its directory and its end record"),
        (lambda plain, _: plain + b"more", "data or a comment stands after its end record"),
        (lambda plain, _: with_gap(plain), "6 bytes between .* and the directory that do not belong there"),
        (lambda plain, _: with_gap_inside(plain), "6 bytes between .* that do not belong there"),
        (lambda plain, _: gap_before_the_end(plain), "6 bytes stand between its directory and its end record"),
        (lambda plain, _: overlapping(plain), "overlaps"),
        (lambda plain, _: twice_the_same(plain), "stands twice"),
        (lambda plain, _: renamed(plain), "is called b'.*hodel.json' in its own header"),
        (lambda plain, _: other_size_in_header(plain), "has a header that disagrees with the directory"),
        (lambda plain, _: wide_end_elsewhere(plain, offset=-1), "ZIP64 locator does not point to the end record before it"),
        (lambda plain, _: wide_end_elsewhere(plain, size=-46), r"two end records disagree \(ZIP64\): size"),
    ],
)
def test_ambiguous_archives(sound: Path, plain: bytes, tmp_path: Path, forge: Callable[[bytes, bytes], bytes], reason: str) -> None:
    bad = rewritten(sound, tmp_path / "bad.pt2", graph=hostile_graph(tmp_path / "mark")).read_bytes()
    path = tmp_path / "forged.pt2"
    path.write_bytes(forge(plain, bad))
    assert re.search(reason, refusal(path))
    assert not (tmp_path / "mark").exists()


def test_a_bit_that_is_wrong_anywhere_changes_nothing_that_is_loaded(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.pt2"
    for at in range(0, len(plain), max(1, len(plain) // 300)):
        path.write_bytes(plain[:at] + bytes([plain[at] ^ 0x41]) + plain[at + 1 :])
        try:
            with scanned_program(path) as copy, zipfile.ZipFile(copy) as archive, zipfile.ZipFile(io.BytesIO(plain)) as original:
                for name in original.namelist():
                    assert archive.read(f"program/{name.partition('/')[2]}") == original.read(name)
        except ModelError:
            continue


def test_no_room_for_the_copy(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> object:
        return open("/dev/full", "w+b")  # noqa: PTH123  given to whoever asked for a temporary file

    monkeypatch.setattr("imagejob_runner.models.scan.tempfile.TemporaryFile", full)
    with pytest.raises(StorageError, match=r"sound.pt2 cannot be copied into .*No space left on device; make room there, or set TMPDIR"):
        load_program(sound, CPU, 16)
