"""Waiting for an output: through a moment in which its storage is away, and not at all where it refuses."""

import pytest

from imagejob_runner.exceptions import StorageAwayError, StorageError, StorageRefusedError
from imagejob_runner.storage import writable
from imagejob_runner.storage.writable import until_writable


class Output:
    """An output whose checks end one after the other as given."""

    url = "s3://bucket/out"

    def __init__(self, *ends: StorageError | None) -> None:
        self.ends = list(ends)

    async def check(self) -> None:
        end = self.ends.pop(0)
        if end is not None:
            raise end


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(writable, "FIRST_PAUSE_SECONDS", 0.001)
    return []


async def wait(output: Output, said: list[str], patience: float = 10) -> None:
    async def away(why: str) -> None:
        said.append(why)

    await until_writable(output, patience, away)  # type: ignore[arg-type]  only `check` is asked


async def test_a_storage_that_comes_back_is_waited_for(said: list[str]) -> None:
    output = Output(StorageAwayError("refused"), StorageAwayError("no answer"), None)
    await wait(output, said)
    assert said == ["refused", "no answer"]
    assert output.ends == []


async def test_a_refusal_is_no_matter_of_patience(said: list[str]) -> None:
    with pytest.raises(StorageRefusedError, match="no such bucket"):
        await wait(Output(StorageAwayError("refused"), StorageRefusedError("no such bucket")), said)


async def test_patience_ends(said: list[str]) -> None:
    with pytest.raises(StorageAwayError, match="no answer"):
        await wait(Output(StorageAwayError("no answer")), said, patience=0)
    assert said == []
