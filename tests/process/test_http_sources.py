"""A job over a web server that misbehaves in every way: the right code, another attempt only where it helps, and the run ends."""

import socket

from tests.process import pictures
from tests.process.harness import Lab, Step, codes, elapsed, inputs_from
from tests.process.web import (
    ALLOWED,
    Answer,
    endless,
    file,
    hangs_up,
    redirect,
    serving,
    stalls,
    stalls_in_the_body,
    status,
)

RETRIES = 1
SECRET = "hunter2"  # noqa: S105  it is none
PHOTO = pictures.photo(1, (64, 48))
METADATA = "http://169.254.169.254/latest/meta-data/"

ANSWERS: dict[str, tuple[Answer, str, int]] = {
    "/good.jpg": (file(PHOTO), "ok", 1),
    "/missing.jpg": (status(404), "NotFound", 1),
    "/gone.jpg": (status(410), "NotFound", 1),
    "/forbidden.jpg": (status(403), "PermissionDenied", 1),
    "/teapot.jpg": (status(418), "HttpStatus", 1),
    "/flaky.jpg": (status(500, then=PHOTO), "ok", 2),
    "/busy.jpg": (status(503, then=PHOTO, Retry_After="1"), "ok", 2),
    "/broken.jpg": (status(500), "HttpStatus", 1 + RETRIES),
    "/loop.jpg": (redirect("/loop.jpg"), "TooManyRedirects", 1),
    "/moved.jpg": (redirect("/good.jpg"), "ok", 1),
    "/to-file.jpg": (redirect("file:///etc/passwd"), "AddressForbidden", 1),
    "/to-metadata.jpg": (redirect(METADATA), "AddressForbidden", 1),
    "/endless.jpg": (endless, "BodyTooLarge", 1),
    "/announced.jpg": (lambda handler, _: handler.send(200, b"", Content_Length=str(10**12)), "BodyTooLarge", 1),
    "/stalls.jpg": (stalls, "Timeout", 1 + RETRIES),
    "/stalls-in-the-body.jpg": (stalls_in_the_body, "Timeout", 1 + RETRIES),
    "/hangs-up.jpg": (hangs_up, "ConnectionFailed", 1 + RETRIES),
    "/page.jpg": (file(b"<html>this is no picture</html>"), "UnsupportedFormat", 1),
    "/empty.jpg": (file(b""), "EmptyFile", 1),
}
MAX_REDIRECTS = 3
STEPS: list[Step] = [
    {
        "name": "download",
        "download": {"maxBytes": 1_000_000, "maxRedirects": MAX_REDIRECTS, "allowedNetworks": [f"{ALLOWED}/32"]},
        "timeout": "3s",
        "retries": {"limit": RETRIES, "backoff": "10ms"},
    },
    {"name": "decode", "transform": {}},
    {"name": "save", "save": {}},
]


def test_each_image_of_a_hostile_server_ends_in_its_own_row_and_the_run_ends(lab: Lab) -> None:
    with serving({path: answer for path, (answer, _, _) in ANSWERS.items()}) as web:
        web.answers["/to-localhost.jpg"] = redirect(web.url("/good.jpg", "127.0.0.1"))
        web.answers["/to-name.jpg"] = redirect(web.url("/good.jpg", "localhost"))
        web.answers["/to-mapped.jpg"] = redirect(web.url("/good.jpg", "[::ffff:127.0.0.1]"))
        urls = {path: web.url(path) for path in web.answers}
        urls |= {
            "refused": f"http://{ALLOWED}:{closed_port()}/a.jpg",
            "localhost": web.url("/good.jpg", "127.0.0.1"),
            "metadata": METADATA,
            "decimal": web.url("/good.jpg", "2130706433"),
            "private": "http://10.1.2.3/a.jpg",
            "carrier": "http://100.64.0.1/a.jpg",
            "no such host": "http://no-such-host.invalid/a.jpg",
        }
        urls = {name: f"{url.replace('//', f'//me:{SECRET}@')}#token={SECRET}" for name, url in urls.items()}
        job = lab.job(STEPS, inputs_from(lab.folder / "list.jsonl", list(urls.items())), failurePolicy={"maxFailureRate": 1})
        with elapsed() as seconds:
            ended = lab.run(job).expect(5)
        rows = lab.output().by_id()

    expected = {path: code for path, (_, code, _) in ANSWERS.items()}
    expected |= dict.fromkeys(("/to-localhost.jpg", "/to-name.jpg", "/to-mapped.jpg"), "AddressForbidden")
    expected |= dict.fromkeys(("localhost", "metadata", "private", "carrier"), "AddressForbidden")
    expected |= {"decimal": "InvalidUrl"}
    expected |= dict.fromkeys(("refused", "no such host"), "ConnectionFailed")
    assert codes(rows) == expected
    assert web.asked["forbidden"] == 0, "a forbidden address was asked"
    assert seconds[0] < 30

    attempts = {path: attempts for path, (_, _, attempts) in ANSWERS.items()}
    attempts |= {"refused": 1 + RETRIES}
    for name, row in rows.items():
        if row["error"] is not None:
            assert row["error"]["attempts"] == attempts.get(name, 1), name
            assert row["error"]["retryable"] == (attempts.get(name, 1) > 1), name
    assert web.asked["/loop.jpg"] == 1 + MAX_REDIRECTS
    assert web.asked["/good.jpg"] == 2, "once by itself and once by a redirect"
    for path in ANSWERS.keys() - {"/loop.jpg", "/good.jpg"}:
        assert web.asked[path] == attempts[path], path
    lab.verify()

    told = {
        path.name: path.read_text() for path in lab.output().folder.rglob("*") if path.is_file() and path.parent.parent.name != "manifest"
    }
    assert {"plan.json", "errors.jsonl", "summary.json"} < told.keys()
    assert [name for name, text in {**told, "out": ended.out, "err": ended.err}.items() if SECRET in text] == []


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((ALLOWED, 0)) as server:
        return int(server.getsockname()[1])
