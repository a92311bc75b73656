"""What every output promises, shown on a folder and on a real S3 server."""

import asyncio
import errno
import uuid
from pathlib import Path

import pytest
from obstore.exceptions import BaseError, GenericError, PermissionDeniedError

from imagejob_runner.constants import WRITABLE_FILE
from imagejob_runner.exceptions import InvalidJobError, StorageAwayError, StorageError, StorageRefusedError
from imagejob_runner.storage import LocalOutput, OutputStore, open_output, stores
from imagejob_runner.storage.store_errors import is_refusal
from tests.tools.s3 import S3Server


@pytest.fixture(params=["folder", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> OutputStore:
    if request.param == "folder":
        return open_output(str(tmp_path / "out"))
    server: S3Server = request.getfixturevalue("s3")
    return open_output(server.url(f"runs/{uuid.uuid4().hex}/"))


async def names(output: OutputStore, folder: str = "") -> list[str]:
    return [name async for name in output.names(folder)]


async def test_the_first_writer_wins(output: OutputStore) -> None:
    assert await output.create("a/b.txt", b"first") is True
    assert await output.create("a/b.txt", b"second") is False
    assert await output.read("a/b.txt") == b"first"


async def test_of_racing_writers_exactly_one_wins(output: OutputStore) -> None:
    for turn in range(5):
        won = await asyncio.gather(*(output.create(f"race/{turn}", str(writer).encode()) for writer in range(8)))
        assert sorted(won) == [False] * 7 + [True]
        assert await output.read(f"race/{turn}") == str(won.index(True)).encode()


async def test_an_exchange_replaces_only_what_was_read(output: OutputStore) -> None:
    assert await output.read_version("part") is None
    await output.create("part", b"failed")
    first, late = await output.read_version("part"), await output.read_version("part")
    assert first is not None
    assert late is not None
    assert first[0] == b"failed"
    assert await output.exchange("part", b"ok", first[1])
    assert not await output.exchange("part", b"failed again", late[1])
    assert await output.read("part") == b"ok"
    await output.delete("part")
    assert not await output.exchange("part", b"ok", first[1])
    assert await output.read("part") is None


async def test_no_exchange_is_lost_among_racing_writers(output: OutputStore) -> None:
    await output.create("counter", b"0")

    async def count() -> None:
        done = 0
        while done < 4:
            found = await output.read_version("counter")
            assert found is not None
            done += await output.exchange("counter", str(int(found[0]) + 1).encode(), found[1])

    await asyncio.gather(*(count() for _ in range(4)))
    assert await output.read("counter") == b"16"


async def test_replace_writes_over(output: OutputStore, tmp_path: Path) -> None:
    await output.replace("x", b"one")
    await output.replace("x", b"two")
    assert await output.read("x") == b"two"
    big = tmp_path / "big"
    big.write_bytes(b"0123456789" * 700_000)  # larger than one part of a multipart upload
    await output.replace_file("x", big)
    assert await output.read("x") == big.read_bytes()


async def test_what_is_not_there(output: OutputStore) -> None:
    assert await output.read("nothing") is None
    assert await names(output) == []
    assert await names(output, "results") == []
    await output.delete("nothing")
    with pytest.raises(StorageError, match="nothing"):
        _ = [line async for line in output.lines("nothing")]


async def test_names_are_those_below_a_folder_and_sorted(output: OutputStore) -> None:
    for name in ("b/2", "b/1", "b/c/3", "bb/4", "a"):
        await output.create(name, b"")
    assert await names(output) == ["a", "b/1", "b/2", "b/c/3", "bb/4"]
    assert await names(output, "b") == ["b/1", "b/2", "b/c/3"]
    await output.delete("b/1")
    assert await names(output, "b") == ["b/2", "b/c/3"]


@pytest.mark.parametrize("data", [b"", b"one", b"one\n", b"one\ntwo\n", b"\n\nx", b"a" * 3_000_000 + b"\nend\n"])
async def test_lines(output: OutputStore, data: bytes) -> None:
    await output.create("lines", data)
    assert [line async for line in output.lines("lines")] == data.splitlines(keepends=True)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//x", ".", "a\nb", "", "a\0"])
async def test_no_name_leads_out_of_the_output(output: OutputStore, name: str) -> None:
    with pytest.raises(StorageError, match="cannot be a name"):
        await output.create(name, b"")


async def test_a_missing_bucket_is_named(s3: S3Server) -> None:
    output = open_output("s3://there-is-no-such-bucket/x")
    with pytest.raises(StorageError, match=r"s3://there-is-no-such-bucket/x.*bucket"):
        await output.create("a", b"")
    with pytest.raises(StorageError, match="bucket"):
        await names(output)
    assert s3.bucket not in output.url


async def test_wrong_credentials_are_named(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stores._open_store.cache_clear()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="credentials"):
        await open_output(s3.url("x")).replace("a", b"")
    stores._open_store.cache_clear()


async def test_an_output_that_can_be_written_to_is_found_so_and_left_empty(output: OutputStore) -> None:
    await output.check()
    await output.check()
    assert [name for name in await names(output) if name != WRITABLE_FILE] == []
    if isinstance(output, LocalOutput):
        assert await names(output) == []


@pytest.mark.parametrize(
    ("bucket", "environment", "says"),
    [
        ("there-is-no-such-bucket", {}, "make the bucket s3://there-is-no-such-bucket"),
        ("", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch.*check the credentials"),
        ("", {"AWS_ACCESS_KEY_ID": "nobody"}, "No user exists with the provided access key.*correct"),
    ],
    ids=["bucket", "secret", "key"],
)
async def test_what_a_store_refuses_is_told_from_what_passes(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, bucket: str, environment: dict[str, str], says: str
) -> None:
    stores._open_store.cache_clear()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageRefusedError, match=says):
        await open_output(f"s3://{bucket or s3.bucket}/x").check()
    stores._open_store.cache_clear()


async def test_an_account_that_is_not_named_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageRefusedError, match=r"az://container/x/_imagejob/writable: .*check the variables"):
        await open_output("az://container/x").check()


async def test_an_endpoint_that_is_away_is_told_at_once_in_words_that_stay_the_same(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    said = set()
    for _ in range(3):
        with pytest.raises(StorageAwayError, match=r"http://127\.0\.0\.1:1 cannot be reached: Connection refused") as error:
            await open_output(s3.url("x")).check()
        said.add(str(error.value))
    assert len(said) == 1


def test_which_answers_are_refusals() -> None:
    said = "Generic S3 error: Error performing PUT http://host/b/k in 1ms - Server returned non-2xx status code"
    refused = [status for status in (301, 400, 403, 405, 408, 409, 429, 500, 501, 503) if is_refusal(GenericError(f"{said}: {status} x"))]
    assert refused == [301, 400, 403, 405, 501]


@pytest.mark.parametrize(
    ("kind", "status", "code", "refused"),
    [
        (PermissionDeniedError, 403, "RequestTimeTooSkewed", False),
        (PermissionDeniedError, 403, "SlowDown", False),
        (GenericError, 400, "ExpiredToken", False),
        (GenericError, 400, "RequestTimeout", False),
        (PermissionDeniedError, 403, "InvalidAccessKeyId", True),
        (PermissionDeniedError, 403, "AccessDenied", True),
        (GenericError, 400, "InvalidRequest", True),
    ],
)
def test_what_a_store_takes_back_is_no_refusal(kind: type[BaseError], status: int, code: str, *, refused: bool) -> None:
    answer = f"<Error><Code>{code}</Code><Message>words</Message></Error>"
    said = f"Error performing PUT http://host/b/k in 1ms - Server returned non-2xx status code: {status} x: {answer}"
    assert is_refusal(kind(said)) is refused


def test_a_folder_on_a_full_disk_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, f"No space left on device for {len(data)} bytes", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageAwayError, match=r"No space left.*has space"):
        asyncio.run(open_output(str(tmp_path / "a" / "b")).check())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"), [("http://host/x", "nothing can be written to http"), ("pkg://numpy/x", "nothing can be written to pkg")]
)
def test_what_cannot_be_an_output(url: str, message: str) -> None:
    with pytest.raises(InvalidJobError, match=message):
        open_output(url)
