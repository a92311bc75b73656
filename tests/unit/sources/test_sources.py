"""Inputs from everywhere: all of them, in a stable order, with ids that tell them apart."""

import gzip
import os
import unicodedata
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from imagejob_api.imagejob import Source
from imagejob_api.pipeline import Download
from imagejob_runner.exceptions import InvalidJobError, InvalidSourceError
from imagejob_runner.sources import Entry, list_source
from imagejob_runner.sources.permitted import Permitted
from imagejob_runner.storage.stores import open_store
from imagejob_runner.urls import FileUrl, parse_url
from tests.tools.s3 import S3Server


async def listed(source: dict[str, Any], *, output_url: str | None = None, download: Download | None = None) -> list[Entry]:
    return [entry async for entry in list_source(Source.model_validate(source), output_url=output_url, download=download)]


async def failure(source: dict[str, Any], *, output_url: str | None = None) -> str:
    with pytest.raises(InvalidJobError) as caught:
        await listed(source, output_url=output_url)
    return str(caught.value)


async def test_inline() -> None:
    assert await listed({"urls": [{"url": "s3://bucket/a"}, {"id": "../x", "url": "/b"}]}) == [
        Entry("s3://bucket/a", "s3://bucket/a"),
        Entry("../x", "/b"),
    ]
    assert (await failure({"urls": [{"url": "/a"}, {"url": "file://host/a"}]})).startswith("source.urls[1].url: the URL 'file://host/a'")


async def test_a_folder_with_every_kind_of_name(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "é.jpg")
    decomposed = unicodedata.normalize("NFD", "é.jpg")
    names = [
        "a b.jpg",
        "new\nline.jpg",
        "..%2Fup.jpg",
        "..\\up.jpg",
        "x" * 240 + ".jpg",
        composed,
        decomposed,
        "%41.jpg",
        "#?.jpg",
        "notes.txt",
    ]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"bad")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "empty.jpg").write_bytes(b"")
    (tmp_path / ".DS_Store").write_bytes(b"")
    entries = await listed({"prefix": {"url": str(tmp_path)}})
    ids = [entry.id for entry in entries]
    assert sorted(ids) == sorted([name.replace("\\", "\\\\") for name in names] + ["bad\\xff.jpg", "sub/empty.jpg"])
    assert len(set(ids)) == len(ids)
    for entry in entries:
        location = parse_url(entry.url)
        assert isinstance(location, FileUrl)
        content = location.path.read_bytes()
        assert content in (b"", b"bad") or content.decode().replace("\\", "\\\\") == entry.id
    assert entries == await listed({"prefix": {"url": tmp_path.as_uri()}})


async def test_links_lead_nowhere_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "sub", outside):
        folder.mkdir(parents=True)
        (folder / "a.jpg").write_bytes(b"")
    (inside / "file").symlink_to(outside / "a.jpg")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "good").symlink_to(inside / "sub" / "a.jpg")
    (inside / "broken").symlink_to("nothing")
    os.mkfifo(inside / "fifo")
    assert [entry.id for entry in await listed({"prefix": {"url": str(inside)}})] == ["good", "sub/a.jpg"]


@pytest.mark.parametrize("through_link", [False, True])
async def test_the_own_output_is_left_out(tmp_path: Path, *, through_link: bool) -> None:
    photos = tmp_path / "photos"
    for name in ("a.jpg", "out/results/part", "outer.jpg", "outer/b.jpg"):
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    root = photos
    if through_link:
        root = tmp_path / "link"
        root.symlink_to(photos)
    prefix = {"prefix": {"url": str(root)}}
    ids = ["a.jpg", "outer/b.jpg", "outer.jpg"]
    assert sorted(entry.id for entry in await listed(prefix, output_url=str(photos / "out"))) == sorted(ids)
    assert "lies in the output" in await failure(prefix, output_url=str(photos))
    assert "lies in the output" in await failure(prefix, output_url=str(tmp_path))
    assert len(await listed(prefix, output_url=str(tmp_path / "photos2"))) == 4


async def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "does not exist" in await failure({"prefix": {"url": str(tmp_path / "none")}})
    assert "is a file" in await failure({"prefix": {"url": str(tmp_path / "file")}})
    assert "cannot be listed" in await failure({"prefix": {"url": "https://host/x"}})


async def test_objects(s3: S3Server) -> None:
    store = open_store("s3", s3.bucket)
    for key in ("a.jpg", "b c/d.jpg", "empty.jpg", "out/results/part", "sub/é%41.jpg", "sub/.hidden"):
        obstore.put(store, f"list/{key}", b"" if key == "empty.jpg" else b"x")
    obstore.put(store, "lists/other.jpg", b"x")
    entries = await listed({"prefix": {"url": s3.url("list/")}}, output_url=s3.url("list/out"))
    assert entries == [Entry(key, s3.url(f"list/{key}")) for key in ("a.jpg", "b c/d.jpg", "empty.jpg", "sub/é%41.jpg")]
    assert entries == await listed({"prefix": {"url": s3.url("list")}}, output_url=s3.url("list/out/"))
    assert [entry.id for entry in await listed({"prefix": {"url": s3.url("list"), "glob": "*.jpg"}})] == ["a.jpg", "empty.jpg"]
    assert "lies in the output" in await failure({"prefix": {"url": s3.url("list/sub")}}, output_url=s3.url("list"))
    assert "no bucket" in await failure({"prefix": {"url": "s3://no-such-bucket-here/x"}})


async def test_the_marker_of_a_folder_is_no_input(s3: S3Server) -> None:
    store = open_store("s3", s3.bucket)
    obstore.put(store, "marked/folder/a.jpg", b"x")
    obstore.put(store, "marked/last", b"")
    assert [entry.id for entry in await listed({"prefix": {"url": s3.url("marked")}})] == ["folder/a.jpg", "last"]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "one.jpg\r\n\n  s3://bucket/two.jpg\n"),
        ("a.txt", "\ufeffone.jpg\ns3://bucket/two.jpg"),
        ("a.csv", "label,url\ncat,one.jpg\ndog,s3://bucket/two.jpg\n"),
        ("a.csv", "\ufeffurl\r\none.jpg\r\ns3://bucket/two.jpg\r\n"),
        ("a.jsonl", '{"url": "one.jpg"}\n\n{"url": "s3://bucket/two.jpg", "x": 1}\n'),
        ("a.ndjson", '{"url": "one.jpg", "id": null}\n{"url": "s3://bucket/two.jpg"}'),
    ],
)
async def test_manifests_without_ids(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path / name, content)
    assert await listed({"manifest": {"url": str(path)}}) == [
        Entry("one.jpg", str(tmp_path / "one.jpg")),
        Entry("s3://bucket/two.jpg", "s3://bucket/two.jpg"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,url\n"../a, ""b""\nc",/1\n7,/2\n'),
        ("a.jsonl", '{"id": "../a, \\"b\\"\\nc", "url": "/1"}\n{"id": 7, "url": "/2"}\n'),
        ("a.parquet", {"id": ['../a, "b"\nc', "7"], "url": ["/1", "/2"], "other": [1.0, 2.0]}),
    ],
)
async def test_manifests_with_ids(tmp_path: Path, name: str, content: str | dict[str, list[Any]]) -> None:
    path = tmp_path / name
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        write(path, content)
    assert await listed({"manifest": {"url": str(path)}}) == [Entry('../a, "b"\nc', "/1"), Entry("7", "/2")]


async def test_other_columns_and_formats(tmp_path: Path) -> None:
    path = write(tmp_path / "list", "key;x,Image\n1,/a\n")
    manifest = {"url": str(path), "format": "csv", "idField": "key;x", "urlField": "Image"}
    assert await listed({"manifest": manifest}) == [Entry("1", "/a")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,uri\n1,/a\n", "no column 'url'; did you mean 'uri'"),
        ("a.csv", "id,url\n1,/a\n2,\n", "a.csv, line 3: 'url' is empty"),
        ("a.csv", "id,url\n1,/a,b\n", "a.csv, line 2: more fields than"),
        ("a.csv", "id,url\n,/a\n", "a.csv, line 2: 'id' is ''"),
        ("a.csv", "id,url\n1\n", "a.csv, line 2: 'url' is empty"),
        ("a.csv", "", "no column 'url'; there are: none at all"),
        ("a.csv", 'id,url\n1,"/a', "a.csv, line 2: not valid CSV"),
        ("a.csv", b"id,url\n1,/\xff\n", "not UTF-8"),
        ("a.txt", b"/\xff\n", "not UTF-8"),
        ("a.txt", "/a\ns4://bucket/x\n", "a.txt, line 2: the URL 's4://bucket/x' has the unknown scheme"),
        ("a.txt", "/a\n" + "x" * 5000, "a.txt, line 2: 'url' has 5000 characters"),
        ("a.csv", f"id,url\n{'x' * 5000},/a\n", "a.csv, line 2: 'id' has 5000 characters"),
        ("a.jsonl", '{"url": "/a"}\n{"url": "/b"\n', "a.jsonl, line 2: not valid JSON"),
        ("a.jsonl", '["/a"]\n', "a.jsonl, line 1: a row is a JSON object"),
        ("a.jsonl", '{"link": "/a"}\n', "a.jsonl, line 1: no column 'url'"),
        ("a.jsonl", '{"url": 5}\n', "a.jsonl, line 1: 'url' is 5"),
        ("a.jsonl", '{"url": "/a", "id": [1]}\n', r"a.jsonl, line 1: 'id' is \[1\]"),
        ("a.jsonl", '{"url": "/a", "id": true}\n', "a.jsonl, line 1: 'id' is True"),
        ("a.jsonl", '{"url": "/a", "id": "\\ud800"}\n', "a.jsonl, line 1: 'id' holds half of a surrogate"),
        ("a.parquet", b"PAR1 nonsense", "not a readable Parquet file"),
        ("a.tsv", "", "the ending 'tsv' says no format"),
    ],
)
async def test_what_is_wrong_with_a_manifest(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    write(tmp_path / name, content)
    with pytest.raises(InvalidJobError, match=message):
        await listed({"manifest": {"url": str(tmp_path / name)}})


async def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in await failure({"manifest": {"url": str(tmp_path / "a.csv")}})
    assert "is no file" in await failure({"manifest": {"url": str(tmp_path), "format": "csv"}})


async def test_an_id_column_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "name,url\n1,/a\n")
    assert "no column 'id' (source.manifest.idField)" in await failure({"manifest": {"url": str(path), "idField": "id"}})


async def test_a_row_without_url_in_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["/a", None]}), tmp_path / "a.parquet")
    assert "a.parquet, row 2: 'url' is empty" in await failure({"manifest": {"url": str(tmp_path / "a.parquet")}})


async def test_a_manifest_in_a_bucket(s3: S3Server) -> None:
    obstore.put(open_store("s3", s3.bucket), "manifests/a.csv", b"id,url\n1,img/1.jpg\n")
    assert await listed({"manifest": {"url": s3.url("manifests/a.csv")}}) == [Entry("1", s3.url("manifests/img/1.jpg"))]
    with pytest.raises(InvalidSourceError, match="does not exist"):
        await listed({"manifest": {"url": s3.url("manifests/none.csv")}})


async def test_a_manifest_on_a_web_server() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"id,url\n1,img/1.jpg\n"), headers={"Content-Encoding": "gzip"})

    app = web.Application()
    app.router.add_get("/lists/a.csv", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        url = str(server.make_url("/lists/a.csv"))
        with pytest.raises(InvalidSourceError, match="not public"):
            await listed({"manifest": {"url": url}})
        found = await listed({"manifest": {"url": url}}, download=Download(allowed_networks=["127.0.0.0/8"]))
        assert found == [Entry("1", url.replace("a.csv", "img/1.jpg"))]


async def test_a_large_manifest_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("w") as file:
        file.writelines(f"/data/{number}.jpg\n" for number in range(50_000))
    entries = list_source(Source.model_validate({"manifest": {"url": str(path)}}))
    assert (await anext(entries)).id == "/data/0.jpg"
    assert sum([1 async for _ in entries]) == 49_999


FILES = "file:///var/run/secrets/kubernetes.io/serviceaccount/token"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        (FILES, "a file of the machine that reads it"),
        ("/var/run/secrets/token", "a file of the machine that reads it"),
        ("pkg://skimage/data/coffee.png", "a file of the machine that reads it"),
        ("s3://another/a.jpg", "in s3://another"),
        ("gs://BUCKET/a.jpg", "in gs://BUCKET"),
        ("http://host/a.jpg", "on a web server"),
    ],
)
async def test_a_list_in_a_bucket_names_what_is_in_that_bucket(s3: S3Server, url: str, what: str) -> None:
    url = url.replace("BUCKET", s3.bucket)
    obstore.put(open_store("s3", s3.bucket), "permitted/a.csv", f"id,url\n1,../b.jpg\n2,{url}\n".encode())
    manifest = {"url": s3.url("permitted/a.csv")}
    message = await failure({"manifest": manifest})
    assert (
        f"permitted/a.csv, line 3: {url} is {what.replace('BUCKET', s3.bucket)}, and a list from s3://{s3.bucket} may name only" in message
    )
    assert "source.manifest.allowedSources" in message
    assert [entry.url for entry in await listed({"manifest": {**manifest, "allowedSources": [url]}})][1] == url


@pytest.mark.parametrize("url", [FILES, "s3://bucket/a.jpg", "pkg://skimage/data/coffee.png"])
def test_a_list_on_a_web_server_names_what_is_on_web_servers(url: str) -> None:
    permitted = Permitted("https://host/lists/a.csv", [])
    permitted.check("http://another/a.jpg")
    with pytest.raises(InvalidJobError, match="a list from a web server may name only what is there"):
        permitted.check(url)


def test_a_list_among_files_names_anything() -> None:
    for manifest in ("/lists/a.csv", "file:///lists/a.csv", "pkg://skimage/data/coffee.png"):
        for url in (FILES, "/etc/passwd", "s3://bucket/a", "https://host/a", "pkg://skimage/data/coffee.png"):
            Permitted(manifest, []).check(url)


@pytest.mark.parametrize(
    ("beginning", "within", "outside"),
    [
        (
            "file:///data",
            ["file:///data/a", "/data/a/b", "file:///data"],
            ["/database/a", "/data/../etc/passwd", "/data/%2e%2e/x/../../y", "data/a"],
        ),
        ("/data/", ["/data/a"], ["/", "/dat", "file:///data/%2e%2e/etc/passwd"]),
        ("s3://other/a", ["s3://other/a/b", "s3://other/a"], ["s3://other/ab", "s3://other2/a/b", "gs://other/a/b", "s3://other/a/../b"]),
        ("s3://other", ["s3://other/a"], ["s3://other2/a"]),
        (
            "https://host/a",
            ["https://host/a/b?c=d", "https://HOST:443/a/b", "https://me:pass@host/a/b"],
            [
                "https://host.evil/a/b",
                "https://host@evil/a/b",
                "http://host/a/b",
                "https://host:8443/a/b",
                "https://host/ab",
                "https://host/a/../b",
                "https://host/a/%2e%2e/b",
                "https://host/a/..%2fb",
                "https://host/a/..%5cb",
            ],
        ),
        ("https://host", ["https://host/a"], ["https://hostile/a"]),
        ("pkg://skimage/data", ["pkg://skimage/data/coffee.png"], ["pkg://skimage/io/a", "file:///data/a"]),
    ],
)
def test_what_else_is_allowed(beginning: str, within: list[str], outside: list[str]) -> None:
    permitted = Permitted("s3://own/list.csv", [beginning])
    for url in within:
        permitted.check(url)
    for url in outside:
        with pytest.raises(InvalidJobError, match="may name only what is there"):
            permitted.check(url)


def test_a_beginning_that_is_no_url() -> None:
    with pytest.raises(InvalidSourceError, match=r"source.manifest.allowedSources\[1\]: the URL 'https:///a' has no host"):
        Permitted("s3://own/list.csv", ["s3://other", "https:///a"])
