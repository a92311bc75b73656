"""The gate: images of the two oldest chunks that are not committed pass, whatever order they and the commits come in."""

from hypothesis import given, settings
from hypothesis import strategies as st

from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight
from imagejob_runner.pipeline.gate import Gate


def flights(sequence: int, size: int) -> list[Flight]:
    chunk = ChunkInFlight(sequence, sequence, [None] * size, size)
    return [Flight(ImageItem(f"{sequence}-{place}", "file:///x"), chunk, place) for place in range(size)]


def passed(beyond: Channel[Flight]) -> list[str]:
    return [flight.item.id for flight in beyond.take(len(beyond))]


async def test_two_chunks_pass_and_the_third_waits_until_one_is_written() -> None:
    beyond = Channel[Flight](1)
    gate = Gate(beyond)
    for sequence in (1, 2, 3):
        gate.take_up(sequence)
    gate.arrive(flights(3, 2) + flights(1, 2) + flights(2, 1))
    assert passed(beyond) == ["1-0", "1-1", "2-0"]
    assert gate.waiting == 2
    gate.committed(2)
    assert passed(beyond) == ["3-0", "3-1"]
    assert gate.waiting == 0
    gate.take_up(4)
    gate.arrive(flights(4, 1))
    assert passed(beyond) == [], "the first and the third are not written"
    gate.committed(1)
    assert passed(beyond) == ["4-0"]


async def test_what_is_beyond_is_told_of_the_end_when_the_last_has_passed_and_once() -> None:
    beyond = Channel[Flight](1)
    gate = Gate(beyond)
    for sequence in (1, 2, 3):
        gate.take_up(sequence)
    gate.arrive(flights(3, 1))
    gate.last_came()
    assert not beyond.closed
    gate.committed(1)
    assert passed(beyond) == ["3-0"]
    assert beyond.closed
    beyond.expect()
    assert not beyond.closed, "an image that stands aside comes again"
    gate.committed(2)
    assert not beyond.closed


async def test_after_a_stop_nothing_passes() -> None:
    beyond = Channel[Flight](1)
    gate = Gate(beyond)
    for sequence in (1, 2, 3):
        gate.take_up(sequence)
    gate.arrive(flights(1, 1) + flights(3, 1))
    gate.stop()
    gate.arrive(flights(2, 1))
    gate.committed(1)
    assert passed(beyond) == []
    assert beyond.closed


@settings(deadline=None)
@given(st.data(), st.integers(1, 6))
def test_never_more_than_two_chunks_are_behind_it_and_all_pass_in_the_end(data: st.DataObject, chunks: int) -> None:
    beyond = Channel[Flight](1)
    gate = Gate(beyond)
    for sequence in range(chunks):
        gate.take_up(sequence)
    coming = data.draw(st.permutations([flight for sequence in range(chunks) for flight in flights(sequence, 2)]))
    came, through, written = set[str](), set[str](), set[int]()
    while len(written) < chunks:
        if coming and (
            data.draw(st.booleans()) or not any(_whole(through, sequence) for sequence in range(chunks) if sequence not in written)
        ):
            some = data.draw(st.integers(1, len(coming)))
            came |= {flight.item.id for flight in coming[:some]}
            gate.arrive(coming[:some])
            coming = coming[some:]
        else:
            sequence = data.draw(st.sampled_from([each for each in range(chunks) if each not in written and _whole(through, each)]))
            written.add(sequence)
            gate.committed(sequence)
        through |= set(passed(beyond))
        assert len({name.split("-")[0] for name in through} - {str(sequence) for sequence in written}) <= 2
        oldest = [sequence for sequence in range(chunks) if sequence not in written][:2]
        assert through == {name for name in came if int(name.split("-")[0]) in {*oldest, *written}}, "nobody waits without a reason"


def _whole(through: set[str], sequence: int) -> bool:
    return {f"{sequence}-0", f"{sequence}-1"} <= through
