"""Serves the files of a folder at PORT. They are a static site, and do not change while the server runs.

Usage: serve.py [FOLDER [ERROR_PAGE [FALLBACK [built]]]]. ERROR_PAGE (404.html) answers, with status 404, all paths
without a file. FALLBACK answers them with status 200: it is the page of a single-page application.
If a bundler built the site, browsers keep the files whose names have a hash.

Does not serve names that begin with a dot, symbolic links that lead out of the folder, or listings of folders.
Uses only the standard library.
"""

import contextlib
import hashlib
import mimetypes
import os
import re
import signal
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes, urlsplit

FOLDER, ERROR_PAGE, FALLBACK, BUILT = sys.argv[1:5] + [".", "404.html", "", ""][len(sys.argv[1:5]):]
ROOT = os.path.realpath(FOLDER)
IDLE_SECONDS = 15
# The limit for sending one chunk of a file. It is long, because a connection may be slow, and a media player pauses.
SEND_SECONDS = 600
STOP_SECONDS = 10
CHUNK_BYTES = 256 * 1024
TEXT = {"application/javascript", "application/json", "application/xml", "application/manifest+json", "image/svg+xml"}
# The media types that browsers insist on. They are listed here, because the base system's list differs from machine to
# machine.
TYPES = {
    ".html": "text/html", ".htm": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript",
    ".json": "application/json", ".map": "application/json", ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
    ".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon", ".woff": "font/woff", ".woff2": "font/woff2",
    ".ttf": "font/ttf", ".otf": "font/otf", ".wasm": "application/wasm", ".pdf": "application/pdf", ".txt": "text/plain",
    ".md": "text/markdown", ".csv": "text/csv", ".xml": "application/xml", ".mp3": "audio/mpeg", ".mp4": "video/mp4",
    ".webm": "video/webm", ".ogg": "audio/ogg", ".zip": "application/zip", ".gz": "application/gzip",
}
# Files that only the build reads. They may stand beside the pages, but are no part of the site.
BUILD_FILES = {
    "app.json", "aptfile", "jobs.yaml", "jobs.yml", "procfile", "project.toml", "service.template", "static.json",
    "toolforge.yaml", "toolforge.yml",
}
# A bundler puts a hash of the content into these names, so a browser never needs to ask for them again.
HASHED = re.compile(r"/(assets|static|_next|_nuxt|_app|_astro|js|css|build)/.*[-.](?=\w*[0-9])(?=\w*[A-Za-z])[A-Za-z0-9_]{8,}(\.chunk|\.min)?\.(js|mjs|css|map|woff2?|wasm|png|jpe?g|svg|webp|avif|gif)$")


def content_type(path):
    extension = os.path.splitext(path)[1].lower()
    kind = TYPES.get(extension) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return kind + "; charset=utf-8" if kind.startswith("text/") or kind in TEXT else kind


def locate(url_path):
    """Returns, for the path of a URL, (file, None), (None, the path to redirect to), or (None, None) for no file."""
    # Decode the path again as UTF-8, because http.server decodes each byte of the path as one character.
    path = unquote_to_bytes(url_path.encode("latin-1")).decode("utf-8", "surrogateescape")
    parts = [part for part in path.split("/") if part != ""]
    if "\0" in path or any(part.startswith(".") for part in parts):
        return None, None
    target = os.path.realpath(os.path.join(ROOT, *parts))
    below = os.path.relpath(target, ROOT)
    # A symbolic link may lead to another file of the site. It must not lead to a file outside of the site, or to a name
    # that begins with a dot.
    if below != "." and any(part.startswith(".") for part in below.split(os.sep)):
        return None, None
    if ROOT == os.getcwd() and below.lower() in BUILD_FILES:
        return None, None
    if os.path.isdir(target):
        if not path.endswith("/"):
            if page(os.path.join(target, "index.html")) is None and page(target + ".html") is not None:
                return page(target + ".html"), None
            # The path begins with one slash, because a browser would take //host for the address of another site.
            return None, "/" + url_path.strip("/") + "/"
        return page(os.path.join(target, "index.html")), None
    if path.endswith("/"):
        return None, None
    # /about is the page about.html, if there is no file about
    return (target if os.path.isfile(target) else page(target + ".html")), None


def page(path):
    """Returns the path of a page inside of ROOT, or None."""
    found = os.path.realpath(path)
    inside = found.startswith(ROOT + os.sep) and "/." not in found[len(ROOT):]
    return found if inside and os.path.isfile(found) else None


_tags = {}


def entity_tag(path, size):
    """Returns the ETag of a file, a hash of its content. In an image, all files have the same time stamp."""
    if path not in _tags:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        _tags[path] = '"%s"' % digest.hexdigest()[:32]
    return _tags[path]


def caching(path):
    return "public, max-age=31536000, immutable" if BUILT and HASHED.search(path[len(ROOT):]) else "no-cache"


def byte_range(header, size):
    """Returns (first, last) for a header with one range of bytes, or None to send the whole file.

    Raises ValueError if the file has none of these bytes.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if match is None or match.group(1) == match.group(2) == "":
        return None
    if match.group(1) == "":
        first, last = max(0, size - int(match.group(2))), size - 1
    else:
        first = int(match.group(1))
        last = min(int(match.group(2)), size - 1) if match.group(2) else size - 1
        if match.group(2) and int(match.group(2)) < first:
            return None
    if first >= size or last < first:
        raise ValueError(header)
    return first, last


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "static"
    sys_version = ""
    timeout = IDLE_SECONDS

    def do_GET(self):
        with self.server.at_work():
            self.answer()

    def answer(self):
        path = urlsplit("//host" + self.path if self.path.startswith("/") else self.path).path
        file, redirect = locate(path)
        if redirect is not None:
            query = urlsplit(self.path).query
            self.empty(HTTPStatus.MOVED_PERMANENTLY, {"Location": redirect + ("?" + query if query else "")})
        elif file is None:
            self.not_found()
        else:
            self.send_file(file)

    do_HEAD = do_GET

    def __getattr__(self, name):
        # Without this, http.server would answer 501 to other methods than GET and HEAD. 405 names the methods that are
        # allowed.
        if name.startswith("do_"):
            return lambda: self.empty(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD", "Connection": "close"})
        raise AttributeError(name)

    def send_file(self, path, status=HTTPStatus.OK):
        size = os.path.getsize(path)
        tag = entity_tag(path, size)
        headers = {"Content-Type": content_type(path), "ETag": tag, "Cache-Control": caching(path), "X-Content-Type-Options": "nosniff"}
        first, last = 0, size - 1
        if status == HTTPStatus.OK:
            headers["Accept-Ranges"] = "bytes"
            known = [item.strip().removeprefix("W/") for item in self.headers.get("If-None-Match", "").split(",")]
            if tag in known or known == ["*"]:
                return self.empty(HTTPStatus.NOT_MODIFIED, headers)
            wanted = self.headers.get("Range")
            if wanted and self.command == "GET" and self.headers.get("If-Range", tag) == tag:
                try:
                    part = byte_range(wanted, size)
                except ValueError:
                    return self.empty(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": "bytes */%d" % size})
                if part is not None:
                    first, last = part
                    status = HTTPStatus.PARTIAL_CONTENT
                    headers["Content-Range"] = "bytes %d-%d/%d" % (first, last, size)
        headers["Content-Length"] = str(last - first + 1)
        self.head(status, headers)
        if self.command == "HEAD":
            return
        self.connection.settimeout(SEND_SECONDS)
        with open(path, "rb") as file:
            file.seek(first)
            left = last - first + 1
            while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                self.wfile.write(chunk)
                left -= len(chunk)
        self.connection.settimeout(self.timeout)

    def not_found(self):
        if FALLBACK and (fallback := page(os.path.join(ROOT, FALLBACK))):
            return self.send_file(fallback)
        if lost := page(os.path.join(ROOT, ERROR_PAGE)):
            return self.send_file(lost, HTTPStatus.NOT_FOUND)
        body = b"<!doctype html><meta charset=utf-8><title>Not found</title><h1>Not found</h1><p>There is no such page here.\n"
        self.head(HTTPStatus.NOT_FOUND, {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def empty(self, status, headers):
        self.head(status, headers if status == HTTPStatus.NOT_MODIFIED else {**headers, "Content-Length": "0"})

    def head(self, status, headers):
        # The body of a request is not read. So the connection is closed after a request that has a body.
        has_body = self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers
        if self.server.is_stopping or has_body:
            headers = {**headers, "Connection": "close"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.close_connection = self.close_connection or headers.get("Connection") == "close"
        self.end_headers()

    def log_message(self, form, *arguments):
        line = form % arguments
        print("".join(c if c.isprintable() else "?" for c in line), flush=True)


class Server(ThreadingHTTPServer):
    # Let the process end even if connections are still open.
    daemon_threads = True
    request_queue_size = 256
    is_stopping = False
    answers = 0
    changed = threading.Condition()

    @contextlib.contextmanager
    def at_work(self):
        with self.changed:
            self.answers += 1
        try:
            yield
        finally:
            with self.changed:
                self.answers -= 1
                self.changed.notify_all()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main():
    server = Server(("", int(os.environ.get("PORT", "8000"))), Handler)

    def stop(*_):
        server.is_stopping = True
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print("serving %s at port %d" % (ROOT, server.server_address[1]), flush=True)
    server.serve_forever(poll_interval=0.1)
    # There are no new connections any more. Wait some seconds for answers that are being sent.
    server.socket.close()
    with server.changed:
        server.changed.wait_for(lambda: server.answers == 0, STOP_SECONDS)


if __name__ == "__main__":
    main()
