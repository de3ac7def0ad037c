"""A web server on this machine that holds one file and gives it out well or badly, as the URL asks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serving(content: bytes) -> Iterator[str]:
    """The URL of a server of `content`, while the block runs; see `Server` for what it can be asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Server,), {"content": content})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Server(BaseHTTPRequestHandler):
    """/file and /chunked give the file; /redirect/WHERE; /cut, /drip, /silent, /large, /loop misbehave; else 404."""

    content: bytes
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        getattr(self, f"send_{kind}", self.send_gone)()
        self.close_connection = True

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send_gone(self) -> None:
        self.head(404, Content_Length=0)

    def send_file(self) -> None:
        self.head(200, Content_Length=len(self.content))
        self.wfile.write(self.content)

    def send_chunked(self) -> None:
        self.head(200, Transfer_Encoding="chunked")
        for start in range(0, len(self.content), 4096):
            part = self.content[start : start + 4096]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def send_cut(self) -> None:
        self.head(200, Content_Length=len(self.content))
        self.wfile.write(self.content[:-1000])

    def send_large(self) -> None:
        self.head(200, Content_Length=10**12)

    def send_drip(self) -> None:
        try:
            self.head(200, Content_Length=len(self.content))
            for byte in self.content:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        except OSError:  # the client hung up
            pass

    def send_silent(self) -> None:
        time.sleep(2)

    def send_redirect(self) -> None:
        self.head(302, Location=self.path.removeprefix("/redirect/"), Content_Length=0)

    def send_loop(self) -> None:
        self.head(302, Location="/loop", Content_Length=0)
