"""The parts of a pool that need no processes."""

import json
import math
import os
import random
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagejob_api.pipeline import Decode, Download, Operation
from imagejob_runner.constants import ErrorCode
from imagejob_runner.device.jpeg import Header
from imagejob_runner.device.split import Split
from imagejob_runner.preparation.arena import SharedMemory, Slots
from imagejob_runner.preparation.board import DECODE, Board
from imagejob_runner.preparation.outcomes import Reader, most_bytes, read_probe
from imagejob_runner.preparation.preparer import Preparer, Task
from imagejob_runner.preparation.wire import MOST_BYTES, Receiver, WireError, framed, heading
from tests.tools.photos import encoded, opened
from tests.unit.preparation.workshop import a_recipe

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


class TestSlots:
    @given(st.lists(st.integers(1, 12), max_size=40), st.randoms())
    def test_none_is_given_twice_and_none_is_lost(self, wishes: list[int], chance: random.Random) -> None:
        slots, held = Slots(24), list[int]()
        for wish in wishes:
            if wish > slots.free:
                with pytest.raises(ValueError, match="free"):
                    slots.take(wish)
                chance.shuffle(held)
                slots.give_back(held[:wish])
                del held[:wish]
            else:
                held += slots.take(wish)
            assert sorted(held) == sorted(set(held))
            assert slots.free == 24 - len(held)
        slots.give_back(held)
        assert sorted(slots.take(24)) == list(range(24))

    def test_they_are_side_by_side_where_that_is_possible(self) -> None:
        slots = Slots(12)
        assert [slots.take(4) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        slots.give_back([1, 4, 5, 6, 7, 10])
        assert slots.take(4) == [4, 5, 6, 7]
        assert sorted(slots.take(2)) == [1, 10]


class TestMessages:
    @settings(max_examples=40)
    @given(st.lists(st.tuples(Json, st.binary(max_size=300)), max_size=6), st.integers(1, 400))
    def test_they_arrive_as_they_were_sent_however_they_are_cut(self, messages: list[tuple[Any, bytes]], cut: int) -> None:
        stream = b"".join(b"".join(framed(value, [payload])) for value, payload in messages)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            receiver, got = Receiver(ours), []
            for start in range(0, len(stream), cut):
                theirs.sendall(stream[start : start + cut])
                got += receiver.messages()
            assert json.dumps([value for value, _ in got]) == json.dumps([value for value, _ in messages])
            assert [payload for _, payload in got] == [payload for _, payload in messages]
            theirs.close()
            assert (list(receiver.messages()), receiver.ended) == ([], True)

    @pytest.mark.parametrize(
        "stream",
        [b"\xff" * 12, (3).to_bytes(4, "little") + bytes(8) + b"{x}", (99_999).to_bytes(4, "little") + bytes(8) + b"[" * 99_999],
        ids=["lengths", "no JSON", "nested"],
    )
    def test_what_is_none_is_told(self, stream: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(stream)
            with pytest.raises(WireError):
                list(Receiver(ours).messages())

    def test_one_with_more_bytes_than_can_be_is_refused_before_they_come(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            receiver = Receiver(ours, 3)
            theirs.sendall(b"".join(framed("a", [b"123"])))
            assert [*receiver.messages()] == [("a", b"123")]
            theirs.sendall(heading("b", 4))
            with pytest.raises(WireError, match="4 bytes"):
                list(receiver.messages())


READER = Reader(a_recipe(keep_image=True), 1000)
GOOD = (7, None, 1, "0" * 64, 5, ["PNG", 2, 1, False], 0.5, 0.25, [2, 1, 3], None)
FILE = (7, None, 1, "0" * 64, 5, None, 0.5, 0.25, None, [20, 10, 6])
PAYLOAD = b"rgbRGBiccrest"


class TestOutcomes:
    def test_a_good_one(self) -> None:
        one, used = READER.read(GOOD, memoryview(PAYLOAD))
        assert (one.number, one.error, one.attempts, one.timings, used) == (7, None, 1, {"get": 0.5, "look": 0.25}, 9)
        assert one.image is not None
        assert (one.image.tobytes(), one.image.info) == (b"rgbRGB", {"icc_profile": b"icc"})

    def test_a_file_for_the_device(self) -> None:
        one, used = READER.read(FILE, memoryview(b""))
        assert (one.header, one.image, used) == (Header(20, 10, 6), None, 0)
        assert one.provenance == {"inputSha256": "0" * 64, "inputBytes": 5, "format": "JPEG", "width": 20, "height": 10, "draft": False}

    @pytest.mark.parametrize(("place", "value"), [(4, 0), (4, 1001), (9, [0, 10, 1]), (9, [20, 10, 9]), (9, [20, 10]), (9, [20, -1, 1])])
    def test_a_file_that_makes_no_sense_is_refused(self, place: int, value: object) -> None:
        with pytest.raises(WireError):
            READER.read([*FILE[:place], value, *FILE[place + 1 :]], memoryview(b""))

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            (1, ["Excellent", "", False]),
            (1, [["Timeout"], "", False]),
            (2, 2**31),
            (2, 10**400),
            (3, "0" * 63 + "g"),
            (3, "0" * 65),
            (4, 2**49),
            (5, ["EPS", 2, 1, False]),
            (5, ["PNG", 10**400, 1, False]),
            (8, [10**9, 10**9, 0]),
        ],
    )
    def test_what_cannot_be_is_refused(self, place: int, value: object) -> None:
        with pytest.raises(WireError):
            READER.read([*GOOD[:place], value, *GOOD[place + 1 :]], memoryview(PAYLOAD))

    @pytest.mark.parametrize("value", [["PNG", 2, 1, False, 10**400], ["PNG", 10**400, 1, False, 5], ["EPS", 2, 1, False, 5]])
    def test_nor_a_header_that_cannot_be(self, value: list[object]) -> None:
        with pytest.raises(WireError):
            read_probe(value)

    def test_no_message_is_endless(self) -> None:
        one, _ = READER.read([7, [ErrorCode.INTERNAL, "x" * 10**6, False], *GOOD[2:]], memoryview(PAYLOAD))
        assert one.error is not None
        assert (one.error.code, len(one.error.message)) == (ErrorCode.INTERNAL, 4096)

    @given(st.data())
    def test_whatever_stands_in_it_is_read_or_refused(self, data: st.DataObject) -> None:
        value = list(GOOD)
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(Json)
        try:
            one, used = READER.read(data.draw(st.just(value) | Json), memoryview(PAYLOAD))
        except WireError:
            return
        assert type(one.number) is int
        assert 0 <= used <= len(PAYLOAD)
        assert all(type(seconds) is float and math.isfinite(seconds) for seconds in one.timings.values())
        assert one.error is not None or one.image is not None

    def test_with_it_come_no_more_bytes_than_pictures_can_have(self) -> None:
        def most(**fields: Any) -> int:  # noqa: ANN401  fields of a recipe
            return most_bytes(a_recipe(**{"keep_image": True, "settings": Decode(max_pixels=10**6), **fields}))

        def wide(change: dict[str, Any]) -> Operation:
            return Operation.model_validate(change)

        beside = most() - 3 * 10**6
        assert most(keep_image=False) == 0
        assert Download().max_bytes < beside < Download().max_bytes + 2**23
        large, small = wide({"crop": {"width": 4000, "height": 3000}}), wide({"thumbnail": {"width": 40, "height": 30}})
        assert most(operations=[large]) == 3 * 4000 * 3000 + beside
        assert most(operations=[large, small]) == 3 * 40 * 30 + beside
        assert most(operations=[wide({"resize": {"shorter": 500}})]) == MOST_BYTES

    @given(Json)
    def test_a_header_too(self, value: object) -> None:
        try:
            header = read_probe(value if isinstance(value, list) else [value])
        except WireError:
            return
        assert header.memory >= 0


def test_the_board_says_what_a_device_has_to_do_and_whether_there_is_one() -> None:
    memory = SharedMemory.create("board", Board.size(2))
    board, seen = Board(memory, 2), Board(memory, 2)
    board.device = None
    board.entry(1).begin(5, DECODE)
    assert seen.device is None
    board.device = 0.25
    assert seen.device == 0.25
    board.device = -1e-12
    assert seen.device == 0.0, "sums of what was handed out and is done are not exact"
    memory.close()


def test_the_board_says_what_a_worker_is_at() -> None:
    memory = SharedMemory.create("board", Board.size(2))
    board = Board(memory, 2)
    one, other = board.entry(0), board.entry(1)
    other.begin(5, DECODE)
    assert board.standing(0) is None
    standing = board.standing(1)
    assert standing is not None
    assert (standing.number, standing.step) == (5, DECODE)
    one.begin(0, 7)
    assert board.standing(0) is None, "there is no such step"
    board.clear(1)
    assert board.standing(1) is None
    del one, other
    memory.close()


def test_what_is_decoded_after_all_is_not_left_to_the_device() -> None:
    memory, slot = SharedMemory.create("pixels", 8192), 8192
    device: list[float | None] = [None, 0.0]
    preparer = Preparer(a_recipe(), memory, slot, 1 << 28, Split(1, 1), device.pop)
    task = Task(0, 0, 0, "made://up", encoded(opened("china.jpg").resize((64, 48)), "JPEG"), [0, 0])
    preparer.decode(task)
    assert task.undecoded == Header(64, 48, 1)
    preparer.decode(task)
    assert task.undecoded is None
    del preparer
    memory.close()


def test_a_worker_cannot_take_the_memory_away() -> None:
    memory = SharedMemory.create("pixels", 4096)
    with pytest.raises(PermissionError):
        os.ftruncate(memory.descriptor, 0)
    memory.close()
