"""What of a URL is shown, and what is kept."""

import time
from collections.abc import Callable

import pytest

from imagejob_api.redaction import kept_url, redacted, shown_url


@pytest.mark.parametrize(
    ("url", "shown", "kept"),
    [
        ("https://host/a.jpg", "https://host/a.jpg", "https://host/a.jpg"),
        ("https://me:s3cret@host/a", "https://host/a", "https://host/a"),
        ("HTTPS://s3cret@host:80/a", "HTTPS://host:80/a", "HTTPS://host:80/a"),
        ("https://me:s3@cret@host/a", "https://host/a", "https://host/a"),
        ("https://host/@user/lib@1.0/a.png", "https://host/@user/lib@1.0/a.png", "https://host/@user/lib@1.0/a.png"),
        ("https://[::1]:80/a", "https://[::1]:80/a", "https://[::1]:80/a"),
        ("https://host/a?X-Amz-Algorithm=x&X-Amz-Credential=s3cret&X-Amz-Signature=s3cret", "https://host/a?…", "https://host/a"),
        ("https://host/a?sv=1&sig=s3cret&se=2", "https://host/a?…", "https://host/a?sv=1&se=2"),
        ("https://host/a?id=7&access_token=s3cret", "https://host/a?…", "https://host/a?id=7"),
        ("https://host/a?accessToken=s3cret&id=7", "https://host/a?…", "https://host/a?id=7"),
        ("https://host/a?api_key=s3cret;id=7", "https://host/a?…", "https://host/a?id=7"),
        ("https://host/a?%73ig=s3cret&page=2", "https://host/a?…", "https://host/a?page=2"),
        ("https://host/a?id=7#token=s3cret", "https://host/a?…", "https://host/a?id=7"),
        ("https://host/a#token=s3cret", "https://host/a#…", "https://host/a"),
        ("https://host/a?design=1&passage=2&signal=3", "https://host/a?…", "https://host/a?design=1&passage=2&signal=3"),
        ("s3://key:s3cret@bucket/a", "s3://bucket/a", "s3://bucket/a"),
        ("az://box/a?sv=1&sig=s3cret", "az://box/a?sv=1&sig=…", "az://box/a?sv=1"),
        ("s3://bucket/a?b", "s3://bucket/a?b", "s3://bucket/a?b"),
        ("/data/a b?c", "/data/a b?c", "/data/a b?c"),
    ],
)
def test_urls(url: str, shown: str, kept: str) -> None:
    assert (shown_url(url), kept_url(url)) == (shown, kept)


@pytest.mark.parametrize("url", ["https://me:s3/cret@host/a", "https://me:s3?cret@host/a", "https://me:s3#cret@host"])
def test_what_cannot_be_taken_apart_is_not_shown(url: str) -> None:
    assert shown_url(url) == "https://…"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://me:s3cret@host/a?b=1: refused (see 'https://x:s3cret@h/z').", "GET https://host/a?…: refused (see 'https://h/z')."),
        ("'https:me:s3cret@h/x' lacks slashes; write https://me:s3cret@h/x", "'https:h/x' lacks slashes; write https://h/x"),
        ("sig=s3cret&sv=1; X-Amz-Security-Token=s3cret", "sig=…&sv=1; X-Amz-Security-Token=…"),
        ("proxy http://me:s3cret@proxy:3128 refused", "proxy http://proxy:3128 refused"),
        ("found ...https://me:s3cret@h/x and x_https://me:s3cret@h/x", "found ...https://h/x and x_https://h/x"),
        (f"{'x' * 50}://me:s3cret@h/x", f"{'x' * 50}://h/x"),
        (f"{'x' * 500}-token=s3cret", f"{'x' * 500}-token=…"),
        ("(https://h/a]).", "(https://h/a])."),
        ("step a: 3 of 5, x=1, ratio 1:2, file: /data/a", "step a: 3 of 5, x=1, ratio 1:2, file: /data/a"),
        ("", ""),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected, "once is enough"


@pytest.mark.parametrize("form", [shown_url, kept_url, redacted])
@pytest.mark.parametrize("text", ["https://host/{}", "https://host/a?{}", "s3://bucket/{}=", "= {}", "={}://", "@{}:/", "https:{}"])
def test_long_texts_take_no_time(form: Callable[[str], str], text: str) -> None:
    for filling in ("x", "a.b-", "%41", "=", "])"):
        long = text.format(filling * (16_000 // len(filling)))
        started = time.process_time()
        form(long)
        assert time.process_time() - started < 0.5, f"{filling}: milliseconds; seconds where each letter is tried as the beginning of all"
