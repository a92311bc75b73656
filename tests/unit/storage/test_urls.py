"""URLs are taken apart, put together again, and refused in words that help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.urls import FileUrl, HttpUrl, ObjectUrl, file_url, object_url, parse_url, plain_path, resolve


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("/data/a b.jpg", FileUrl(Path("/data/a b.jpg"))),
        ("./a%20b.jpg", FileUrl(Path("a%20b.jpg"))),
        ("photo: sunset.jpg", FileUrl(Path("photo: sunset.jpg"))),
        ("file:///data/a%20b.jpg", FileUrl(Path("/data/a b.jpg"))),
        ("file:///data/a#b?c.jpg", FileUrl(Path("/data/a#b?c.jpg"))),
        ("file://localhost/data/a.jpg", FileUrl(Path("/data/a.jpg"))),
        ("s3://bucket/a%20b#c?d.jpg", ObjectUrl("s3", "bucket", "a%20b#c?d.jpg")),
        ("gs://bucket", ObjectUrl("gs", "bucket", "")),
        ("az://container/x/y", ObjectUrl("az", "container", "x/y")),
        ("HTTPS://host/x", HttpUrl("HTTPS://host/x")),
    ],
)
def test_where_urls_lead(text: str, location: object) -> None:
    assert parse_url(text) == location
    plain = plain_path(text)
    assert plain is None or FileUrl(Path(plain)) == location


def test_what_is_plain_needs_no_taking_apart() -> None:
    assert plain_path("file:///data/a b.jpg") == "/data/a b.jpg"
    assert [plain_path(text) for text in ("file:///a%20b", "file://host/a", "/a", "file:///a\0", "s3://bucket/a")] == [None] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("s4://bucket/x", "did you mean s3://"),
        ("htp://host/x", "did you mean http://"),
        ("magnet://x", "known are file, http"),
        ("s3:/bucket/x", "lacks slashes; write s3://bucket/x"),
        ("file:/data/x", "lacks slashes; write file:///data/x"),
        ("file://data/x", "names the host 'data'"),
        ("file:///a%00b", "%00"),
        ("/a\0b", "NUL"),
        ("s3:///x", "no valid bucket name"),
        ("az://a b/x", "no valid container name"),
        ("https:///x", "no host"),
        ("http://host:port/x", "not valid"),
        ("http://[::1/x", "not valid"),
        ("pkg://numpy", "pkg://<import package>/<path>"),
        ("pkg://numpy/../secret", "stay inside its package"),
        ("pkg://numpy//etc/passwd", "stay inside its package"),
        ("pkg://no_such_package_here/x", "no package 'no_such_package_here' is installed"),
    ],
)
def test_what_is_wrong_with_a_url(text: str, message: str) -> None:
    with pytest.raises(InvalidJobError, match=message):
        parse_url(text)


def test_pkg_finds_files_without_importing() -> None:
    code = (
        "import sys; from imagejob_runner.urls import parse_url;"
        "print(parse_url('pkg://skimage/data/coffee.png').path.is_file(), 'skimage' in sys.modules,"
        " parse_url('pkg://skimage.data/coffee.png').path.is_file())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True False True\n"


@given(st.binary(min_size=1, max_size=80).filter(lambda raw: b"\0" not in raw and b"/" not in raw and raw not in (b".", b"..")))
def test_any_file_name_survives_its_url(raw: bytes) -> None:
    path = Path("/data") / os.fsdecode(raw)
    url = file_url(path)
    assert plain_path(url) in (None, str(path))
    assert url.isascii()
    assert url.isprintable()
    assert parse_url(url) == FileUrl(path)


@given(st.text(min_size=1, max_size=80).filter(lambda text: "\0" not in text))
def test_any_key_survives_its_url(key: str) -> None:
    location = ObjectUrl("s3", "bucket", key)
    assert parse_url(object_url(location)) == location


@pytest.mark.parametrize(
    ("base", "reference", "result"),
    [
        ("/lists/a.csv", "img/1.jpg", "/lists/img/1.jpg"),
        ("/lists/a.csv", "/img/1.jpg", "/img/1.jpg"),
        ("/lists/a.csv", "s3://bucket/1.jpg", "s3://bucket/1.jpg"),
        ("file:///lists/a.csv", "a b.jpg", "/lists/a b.jpg"),
        ("s3://bucket/lists/a.csv", "img/1.jpg", "s3://bucket/lists/img/1.jpg"),
        ("s3://bucket/a.csv", "1.jpg", "s3://bucket/1.jpg"),
        ("https://h/lists/a.csv?x=1", "img/1.jpg", "https://h/lists/img/1.jpg"),
    ],
)
def test_a_path_in_a_manifest_stands_beside_it(base: str, reference: str, result: str) -> None:
    assert resolve(base, reference) == result
