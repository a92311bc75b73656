"""A web server of the kind that nobody should trust, on two addresses of this machine."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

ALLOWED: Final = "127.0.0.2"
"""The address that jobs are allowed to reach."""
FORBIDDEN: Final = "127.0.0.1"

Answer = Callable[["Handler", int], None]
"""Answers a request; told how often its path has been asked for."""


@dataclass
class Web:
    """A running server: the same answers on both addresses."""

    answers: dict[str, Answer]
    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by path; those to the forbidden address as `forbidden`."""
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = ALLOWED) -> str:
        return f"http://{host}:{self.port}{path}"


class Handler(BaseHTTPRequestHandler):
    """Looks the answer up."""

    web: Web
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.server.server_address[0] == FORBIDDEN:
            self.web.asked["forbidden"] += 1
        self.web.asked[self.path] += 1
        try:
            self.web.answers[self.path](self, self.web.asked[self.path])
        except OSError:
            self.close_connection = True  # the client has had enough

    def log_message(self, *arguments: object) -> None:
        """The tests look at what was asked themselves."""

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def file(data: bytes) -> Answer:
    return lambda handler, _: handler.send(200, data)


def status(*codes: int, then: bytes = b"", **headers: str) -> Answer:
    """Answers with each of the codes in turn, the last one for ever; or, if there are bytes, with 200 and them after the codes."""

    def answer(handler: Handler, times: int) -> None:
        if times > len(codes) and then:
            handler.send(200, then)
        else:
            handler.send(codes[min(times, len(codes)) - 1], **headers)

    return answer


def redirect(target: str) -> Answer:
    return lambda handler, _: handler.send(302, Location=target)


def endless(handler: Handler, _: int) -> None:
    """A body that never ends, of which each block is another start of a JPEG."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    block = b"\xff\xd8\xff" + bytes(64 * 1024 - 3)
    while not handler.web.closing.is_set():
        handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")


def stalls(handler: Handler, _: int) -> None:
    """Says nothing at all."""
    handler.web.closing.wait()
    handler.close_connection = True


def stalls_in_the_body(handler: Handler, _: int) -> None:
    """Sends half of what it has announced, and then nothing."""
    handler.send(200, b"\xff\xd8\xff", Content_Length="1000000")
    stalls(handler, _)


def hangs_up(handler: Handler, _: int) -> None:
    """Sends half of what it has announced, and closes."""
    handler.send(200, b"\xff\xd8\xff", Content_Length="1000000")
    handler.close_connection = True


class Server(ThreadingHTTPServer):
    """A thread for each connection, and room for as many as a job opens at once."""

    daemon_threads = True
    request_queue_size = 128


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[Web]:
    """Serves until the end of the block."""
    web = Web(answers)
    with ExitStack() as stack:
        for address in (ALLOWED, FORBIDDEN):
            server = Server((address, web.port), type("BoundHandler", (Handler,), {"web": web}))
            web.port = server.server_address[1]
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        stack.callback(web.closing.set)
        yield web
