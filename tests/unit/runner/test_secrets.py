"""Whatever fails about a URL, what stands in it for nobody else stays out of rows, messages, logs and files."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import obstore
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from obstore.exceptions import GenericError

from imagejob_api.imagejob import ImageJobSpec, Source
from imagejob_api.pipeline import Download, ImagePipelineSpec, Model
from imagejob_api.pod import PodResult
from imagejob_api.wording import shown
from imagejob_runner.exceptions import ImageError, RunnerError, SkipImage
from imagejob_runner.fetch import Fetcher, copy_to, model_file
from imagejob_runner.item import ImageItem
from imagejob_runner.output import check_json
from imagejob_runner.planning import plan_job
from imagejob_runner.planning.components import pipeline_components
from imagejob_runner.pod.exits import message_of
from imagejob_runner.pod.job import read_job_file
from imagejob_runner.pod.logs import set_up_logs
from imagejob_runner.pod.result import failure
from imagejob_runner.rows import row_of
from imagejob_runner.sources import Entry, list_source
from imagejob_runner.storage import open_output
from imagejob_runner.urls import parse_output_url, parse_url

SECRET: Final = "hunter2"  # noqa: S105  it is none
USER: Final = f"me:{SECRET}@"
SIGNED: Final = f"X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}&sig={SECRET}&token={SECRET}"

Attempt = Callable[["Place"], Awaitable[object]]


class Place:
    """A folder, and a web server that fails in every way by the path that it is asked for."""

    def __init__(self, folder: Path, server: TestServer) -> None:
        self.folder, self._port = folder, server.port

    def web(self, path: str) -> str:
        return f"http://{USER}127.0.0.2:{self._port}/{path}?{SIGNED}"

    async def fetch(self, url: str, **download: int) -> bytes:
        async with Fetcher(Download(allowed_networks=["127.0.0.0/8"], **download)) as fetcher:
            return await fetcher.fetch(url)

    async def list(self, **source: object) -> list[Entry]:
        download = Download(allowed_networks=["127.0.0.0/8"])
        return [entry async for entry in list_source(Source.model_validate(source), download=download)]

    def manifest(self, name: str, text: str, **fields: object) -> dict[str, Any]:
        path = self.folder / name
        path.write_text(text)
        return {"url": str(path), **fields}


async def answer(request: web.Request) -> web.StreamResponse:  # noqa: PLR0911  one for each way to fail
    match request.path.strip("/").split("/"):
        case [status] if status.isdigit():
            return web.Response(status=int(status), reason="Because")
        case ["away"]:
            return web.Response(status=302, headers={"Location": f"ftp://{USER}elsewhere/x?{SIGNED}"})
        case ["broken"]:
            return web.Response(status=302, headers={"Location": f"http://{USER}[elsewhere/x?{SIGNED}"})
        case ["round"]:
            return web.Response(status=302, headers={"Location": str(request.rel_url)})
        case ["packed"]:
            return web.Response(body=b"x", headers={"Content-Encoding": "br"})
        case ["torn"]:
            return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})
        case ["html"]:
            return web.Response(body=b"id,url\n1,file:///etc/passwd\n")
    return web.Response(body=bytes(1000))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.2") as server:
        yield Place(tmp_path, server)


async def parsed(text: str) -> object:
    return parse_url(text)


async def planned(output: Path, pipeline: dict[str, Any] | None = None, **source: object) -> object:
    steps = ImagePipelineSpec.model_validate(pipeline or {"steps": [{"name": "download", "download": {}}]})
    spec = ImageJobSpec.model_validate({"source": source, "pipeline": steps.model_dump(by_alias=True), "output": {"url": str(output)}})
    return await plan_job(spec, steps, open_output(str(output)), name="a", default_shards=1)


def weights(url: str, **fields: object) -> ImagePipelineSpec:
    step = {"name": "a", "infer": {"model": {"architecture": "a:b", "weights": url}, **fields}}
    return ImagePipelineSpec.model_validate({"steps": [{"name": "download", "download": {}}, step]})


async def parsed_output(text: str) -> object:
    return parse_output_url(text)


async def wrong_digest(place: Place) -> object:
    path = place.folder / f"weights?{SIGNED}"
    path.write_bytes(b"x")
    pipeline = weights(str(path))
    step = pipeline.steps[1]
    assert step.infer is not None
    model = Model.model_validate({**step.infer.model.model_dump(by_alias=True, exclude_none=True), "sha256": "0" * 64})
    infer = step.infer.model_copy(update={"model": model})
    return await pipeline_components(pipeline.model_copy(update={"steps": [step.model_copy(update={"infer": infer})]}))


FAILURES: Final[dict[str, Attempt]] = {
    "unknown scheme": lambda _: parsed(f"ftp://{USER}host/a?{SIGNED}"),
    "slashes missing": lambda _: parsed(f"https:/{USER}host/a?{SIGNED}"),
    "no host": lambda _: parsed(f"https://{USER}/a?{SIGNED}"),
    "port that is none": lambda _: parsed(f"https://me:{SECRET}/host/a"),
    "bracket in a password": lambda _: parsed(f"https://me:[{SECRET}]@host/a"),
    "letters that are no host": lambda _: parsed(f"https://me:{SECRET}℀@host/a"),
    "NUL": lambda _: parsed(f"https://{USER}host/a\0?{SIGNED}"),
    "host of a file": lambda _: parsed(f"file://{USER}host/a?{SIGNED}"),
    "package": lambda _: parsed(f"pkg://{USER}host/a?{SIGNED}"),
    "bucket": lambda _: parsed(f"s3://{USER}bucket/a?{SIGNED}"),
    "output on the web": lambda place: parsed_output(place.web("a")),
    "output in a bucket": lambda _: parsed_output(f"s3://{USER}bucket/a?{SIGNED}"),
    **{f"status {code}": (lambda place, code=code: place.fetch(place.web(str(code)))) for code in (401, 404, 418, 500)},
    "redirect elsewhere": lambda place: place.fetch(place.web("away")),
    "redirect to nothing": lambda place: place.fetch(place.web("broken")),
    "redirects": lambda place: place.fetch(place.web("round")),
    "compressed": lambda place: place.fetch(place.web("packed")),
    "torn": lambda place: place.fetch(place.web("torn")),
    "too large": lambda place: place.fetch(place.web("large"), max_bytes=10),
    "refused": lambda place: place.fetch(f"http://{USER}10.0.0.1/a?{SIGNED}"),
    "nobody there": lambda place: place.fetch(f"http://{USER}127.0.0.2:9/a?{SIGNED}"),
    "no such host": lambda place: place.fetch(f"http://{USER}no-such-host.invalid/a?{SIGNED}"),
    "not TLS": lambda place: place.fetch(place.web("a").replace("http:", "https:")),
    "file": lambda place: place.fetch(f"/no/such/file?{SIGNED}"),
    "model": lambda _: asyncio.to_thread(model_file, f"https://{USER}10.0.0.1/a?{SIGNED}"),
    "copy": lambda place: copy_to(place.web("404"), place.folder / "a", Download()),
    "weights": lambda place: pipeline_components(weights(place.web("404"))),
    "weights in a file": lambda _: pipeline_components(weights(f"file:///no/such?{SIGNED}")),
    "labels": lambda place: pipeline_components(weights("pkg://skimage/data/coffee.png", labels=place.web("404"))),
    "digest": wrong_digest,
    "manifest": lambda place: place.list(manifest={"url": place.web("404"), "format": "csv"}),
    "manifest of no format": lambda place: place.list(manifest={"url": place.web("404")}),
    "manifest that names a file": lambda place: place.list(manifest={"url": place.web("html"), "format": "csv"}),
    "manifest that is none": lambda place: place.list(manifest={"url": place.web("large"), "format": "jsonl"}),
    "manifest without columns": lambda place: place.list(manifest={"url": place.web("large"), "format": "csv"}),
    "manifest as Parquet": lambda place: place.list(manifest={"url": place.web("large"), "format": "parquet"}),
    "allowed sources": lambda place: place.list(manifest=place.manifest("a.txt", "x", allowedSources=[f"https://{USER}/"])),
    "row": lambda place: place.list(manifest=place.manifest("a.txt", f"ftp://{USER}host/a?{SIGNED}")),
    "row that is no object": lambda place: place.list(manifest=place.manifest("a.jsonl", json.dumps([f"https://{USER}host"]))),
    "id that is none": lambda place: place.list(
        manifest=place.manifest("a.jsonl", json.dumps({"url": "/a", "id": [f"https://{USER}host/{'x' * 90}"]}))
    ),
    "URL that is too long": lambda place: place.list(manifest=place.manifest("a.txt", f"https://{USER}host/{'x' * 5000}")),
    "columns": lambda place: place.list(manifest=place.manifest("a.csv", f"https://{USER}host/,b\n1,2\n")),
    "inline": lambda place: place.list(urls=[{"url": f"https://{USER}/"}]),
    "prefix on the web": lambda place: place.list(prefix={"url": place.web("a")}),
    "prefix in a file": lambda place: place.list(prefix={"url": f"file:///no/such?{SIGNED}"}),
    "ids": lambda place: planned(place.folder / "out", manifest=place.manifest("twice.txt", f"{place.web('a')}\n{place.web('a')}")),
    "no rows": lambda place: planned(place.folder / "out", manifest=place.manifest("a.txt", "")),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_messages(place: Place, name: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((ImageError, RunnerError)) as caught:
        await FAILURES[name](place)
    message = message_of(caught.value)
    row = row_of(ImageItem("a", "/a"), caught.value if isinstance(caught.value, ImageError) else ImageError("Internal", message))
    for text in (str(caught.value), message, json.dumps(row), failure(PodResult(), message).encoded(), caplog.text):
        assert SECRET not in text


async def test_what_an_object_store_says(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    async def refuse(*_: object) -> object:
        raise GenericError(
            f"Generic MicrosoftAzure error: Error performing GET https://{USER}box.blob.example/a?sv=1&{SIGNED} in 2s: refused"
        )

    monkeypatch.setattr(obstore, "get_async", refuse)
    with pytest.raises(ImageError, match=r"GET https://box.blob.example/a\?… in 2s") as caught:
        await place.fetch(f"s3://bucket/a?{SIGNED}")
    assert SECRET not in str(caught.value)


def test_rows() -> None:
    url = f"https://{USER}host/a?id=7&{SIGNED}"
    for error in (None, SkipImage(f"see {url}"), ImageError("Own", f"{url} is empty")):
        row = row_of(ImageItem("a", url), error)
        assert row["url"] == "https://host/a?id=7"
        assert SECRET not in json.dumps(row)
        check_json(row, "row")


async def test_ids_that_are_urls(place: Place) -> None:
    url = f"https://{USER}host/a?id=7&{SIGNED}"
    expected = ("https://host/a?id=7", url)
    assert await place.list(urls=[{"url": url}]) == [expected]
    assert await place.list(manifest=place.manifest("a.txt", url)) == [expected]
    assert await place.list(urls=[{"url": url, "id": "mine"}]) == [("mine", url)]


async def test_the_plan_is_told_no_secrets_of_models(place: Place) -> None:
    pipeline = {
        "steps": [
            {"name": "download", "download": {"headers": {"Authorization": SECRET}}},
            {"name": "a", "infer": {"model": {"architecture": "a:b", "weights": place.web("weights")}, "labels": place.web("labels")}},
        ]
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEJOB_ALLOWED_NETWORKS", "127.0.0.0/8")
        patch.setenv("IMAGEJOB_CACHE", str(place.folder / "cache"))
        await planned(place.folder / "out", pipeline, urls=[{"url": "/a"}])
    assert SECRET not in (place.folder / "out/_imagejob/plan.json").read_text()


@pytest.mark.parametrize("form", ["text", "json"])
def test_logs(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        set_up_logs({"IMAGEJOB_LOG_FORMAT": form})
        try:
            raise ssl.SSLError(1, f"cannot reach https://{USER}host/a?{SIGNED}")
        except OSError as error:
            logging.getLogger("theirs").warning("https://%shost/b?%s failed", USER, SIGNED, exc_info=error)
    finally:
        logging.basicConfig(handlers=before[0], level=before[1], force=True)
    told = capfd.readouterr().err
    assert "https://host/a?…" in told
    assert "https://host/b?… failed" in told
    assert SECRET not in told


def test_defects_and_files(tmp_path: Path) -> None:
    assert SECRET not in message_of(ZeroDivisionError(f"https://{USER}host/a?{SIGNED}"))
    assert SECRET not in shown(f"htps://{USER}host/a?{SIGNED}")
    (tmp_path / "job.json").write_text(json.dumps({"name": "a", "spec": {"source": {"urls": [{"url": f"htps://{USER}h"}]}}}))
    with pytest.raises(Exception, match="holds no job") as caught:
        read_job_file(tmp_path / "job.json")
    assert SECRET not in str(caught.value)
