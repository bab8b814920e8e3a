"""A fleet over HTTP on the loopback, real daemons, the real command: what is served is all that an attacker has."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tuf.api.exceptions import DownloadError

from hwkm.cli.exits import ExitCode
from hwkm.client.fleet.fetching import FILE_BYTES_MAX, FleetFiles, HttpFetcher
from hwkm.crypto import p256
from hwkm.errors import ListTooLarge, ListUnavailable
from hwkm.fleet.cohort_list import Cohort
from tests.android_world import AndroidList, issue, rsa_key
from tests.cli.person import Person
from tests.cohort_of_daemons import running_cohorts
from tests.daemon import Daemon
from tests.fleet_simulator import Simulator

Handle = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """Serves what a simulator publishes on a free port of the loopback; ``instead`` answers otherwise."""

    def __init__(self) -> None:
        self.fleet = Simulator()
        self.instead: dict[str, Handle] = {}
        self.stopped = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                if path in web.instead:
                    web.instead[path](self)
                    self.close_connection = True
                    return
                data = web.fleet.server.contents.get(path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def answering(self, path: str, answer: Handle) -> Iterator[None]:
        self.instead[path] = answer
        try:
            yield
        finally:
            del self.instead[path]

    # --- answers of an attacker --------------------------------------------------------------

    def trickle(self, handler: BaseHTTPRequestHandler) -> None:
        """A byte now and then, until the client has gone."""
        handler.send_response(200)
        handler.end_headers()
        self._drip(handler)

    def trickle_head(self, handler: BaseHTTPRequestHandler) -> None:
        """A header that does not end."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
        self._drip(handler)

    def _drip(self, handler: BaseHTTPRequestHandler) -> None:
        try:
            while not self.stopped.wait(0.05):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        except OSError:
            return

    @staticmethod
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            return

    @staticmethod
    def redirecting(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "file:///etc/passwd")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    @staticmethod
    def failing(handler: BaseHTTPRequestHandler) -> None:
        handler.send_error(500)

    @staticmethod
    def breaking_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"{")
        handler.connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def garbage(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"\x00\xff" * 1000)


def public_half(cohort: Cohort) -> ec.EllipticCurvePublicKey:
    return p256.load_point(cohort.key)


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """Two cohorts of one module each."""
    with running_cohorts(tmp_path_factory.mktemp("tokens"), [1, 1]) as cohorts:
        yield [daemon for members in cohorts for daemon in members]


class Home:
    """A person with two daemons, who trusts what is published on the web."""

    def __init__(self, directory: Path, daemons: list[Daemon], web: Web) -> None:
        self.web = web
        self.person = Person(directory / "home", Path("/nowhere"))
        del self.person.environment["HWKM_SOCKET"]
        self.configuration = self.person.home / ".config" / "hwkm"
        self.configuration.mkdir(parents=True)
        self.daemons = daemons
        status = [daemon.wait_until_ready() for daemon in daemons]
        keys = [one.cohort.public_key for one in status if one.cohort is not None]
        self.cohorts = [
            Cohort("00" * 32, name, key.hex()) for name, key in zip(("alpha", "beta"), keys, strict=True)
        ]
        tables = [
            f'[[cohort]]\nkey = "{cohort.public_key}"\nsockets = ["{daemon.socket_path}"]\n'
            for cohort, daemon in zip(self.cohorts, daemons, strict=True)
        ]
        (self.configuration / "daemons.toml").write_text("".join(tables))

    def trust(self, status: int = ExitCode.OK) -> None:
        root = self.person.home / "1.root.json"
        root.write_bytes(self.web.fleet.pinned)
        self.person.run("fleet", "trust", self.web.url, "--root", root, status=status)

    def state(self) -> dict[str, bytes]:
        """All that is remembered."""
        return {
            str(path.relative_to(self.configuration)): path.read_bytes()
            for path in self.configuration.rglob("*")
            if path.is_file() and not path.is_symlink()
        }

    def refuses(self, status: ExitCode) -> str:
        """Neither a vault is made nor one opened, and nothing is remembered."""
        before = self.state()
        refused = self.person.create("refused", status=status)
        self.person.run("vault", "open", "phone", pin="0417", status=status)
        assert self.state() == before
        assert [vault["name"] for vault in self.person.json("vault", "list")] == ["phone"]
        code = refused["error"]["code"]
        assert isinstance(code, str)
        return code


@pytest.fixture
def home(tmp_path: Path, daemons: list[Daemon], web: Web) -> Iterator[Home]:
    made = Home(tmp_path, daemons, web)
    yield made
    for daemon in daemons:
        with daemon.http() as http:
            for vault in http.get("/v1/vaults").json()["vaults"]:
                http.delete(f"/v1/vaults/{vault['handle']}")


@pytest.fixture
def trusted(home: Home) -> Home:
    """Both cohorts are listed, the fleet is trusted, and there is a vault."""
    home.web.fleet.publish_list(1, home.cohorts)
    home.trust()
    home.person.create("phone")
    return home


def test_a_life_over_the_air(trusted: Home) -> None:
    """Made for list 1, opened under a rotated root, made anew for list 2, taken away before list 3."""
    person, fleet = trusted.person, trusted.web.fleet
    fleet.rotate_root()
    fleet.publish_list(2, trusted.cohorts)
    person.run("vault", "open", "phone", pin="0417")
    assert person.json("vault", "show", "phone")["standing"] == "older_list"
    person.run("vault", "rotate", "phone", pin="0417")
    shown = person.json("vault", "show", "phone")
    assert shown["standing"] == "current"
    keys = [cohort.public_key[2:18] for cohort in trusted.cohorts]
    stays = keys.index(shown["cohort"])
    fleet.publish_list(3, [trusted.cohorts[1 - stays]])
    person.run("vault", "open", "phone", pin="0417", status=ExitCode.COHORT_MISMATCH)
    person.run("vault", "rotate", "phone", "--leave-delisted", pin="0417")
    assert person.json("vault", "show", "phone")["cohort"] == keys[1 - stays]
    person.run("vault", "open", "phone", pin="0417")


def test_a_key_slipped_in_by_the_operator(trusted: Home) -> None:
    trusted.web.fleet.publish_list(2, trusted.cohorts, signed_by=["operator-list"])
    assert trusted.refuses(ExitCode.NOT_TRUSTED) == "signature_missing"


def test_a_list_that_nobody_else_can_see(trusted: Home) -> None:
    trusted.web.fleet.publish_list(2, trusted.cohorts, logged=False)
    assert trusted.refuses(ExitCode.NOT_TRUSTED) == "list_not_logged"


def test_a_frozen_server(trusted: Home) -> None:
    trusted.web.fleet.publish_list(2, trusted.cohorts, online_days=-1)
    assert trusted.refuses(ExitCode.NOT_TRUSTED) == "list_expired"


def test_a_server_put_back(trusted: Home) -> None:
    old = trusted.web.fleet.snapshot()
    trusted.web.fleet.publish_list(2, trusted.cohorts)
    trusted.person.run("vault", "open", "phone", pin="0417")
    trusted.web.fleet.roll_back(old)
    assert trusted.refuses(ExitCode.NOT_TRUSTED) == "list_downgrade"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("endless", "list_too_large"),
        ("redirecting", "list_unavailable"),
        ("failing", "list_unavailable"),
        ("breaking_off", "list_unavailable"),
        ("garbage", "list_unavailable"),
    ],
)
def test_a_server_that_answers_otherwise(trusted: Home, answer: str, code: str) -> None:
    with trusted.web.answering("metadata/timestamp.json", getattr(trusted.web, answer)):
        assert trusted.refuses(ExitCode.NOT_TRUSTED) == code
    trusted.person.run("vault", "open", "phone", pin="0417")


def test_a_server_that_is_not_there(trusted: Home) -> None:
    trusted.web.stop()
    assert trusted.refuses(ExitCode.NOT_TRUSTED) == "list_unavailable"


def test_nothing_is_trusted_that_does_not_verify_the_first_time(home: Home) -> None:
    home.web.fleet.publish_list(1, home.cohorts, signed_by=["operator-list"])
    home.trust(status=ExitCode.NOT_TRUSTED)
    assert not (home.configuration / "fleet").exists()


def test_androids_lists_over_http(home: Home, web: Web) -> None:
    days = (0, 36_500)
    published = AndroidList(root=issue("root", rsa_key("root"), ca=True, days=days))
    published.intermediate = issue(
        "intermediate", rsa_key("intermediate"), published.root, ca=True, path_length=1, days=days
    )
    published.signer = issue("signer", rsa_key("signer"), published.intermediate, days=days)
    published.intermediates = [published.intermediate]
    published.endpoints = [
        issue(cohort.name, public_half(cohort), published.intermediate, days=days) for cohort in home.cohorts
    ]

    def publish(serial: int) -> None:
        published.serial = str(serial)
        names = ("cert.xml", "cert.sig.xml")
        web.fleet.server.contents |= dict(zip(names, published.files(), strict=True))

    publish(7)
    root = home.person.home / "root.pem"
    root.write_bytes(published.root.certificate.public_bytes(Encoding.PEM))
    home.person.run("fleet", "trust-android", web.url, "--root", root)
    home.person.create("phone")
    home.person.run("vault", "open", "phone", pin="0417")
    publish(8)
    assert home.person.json("vault", "show", "phone")["standing"] == "older_list"
    home.person.run("vault", "rotate", "phone", pin="0417")
    assert home.person.json("vault", "show", "phone")["standing"] == "current"
    publish(7)
    assert home.refuses(ExitCode.NOT_TRUSTED) == "list_downgrade"


# --- the fetcher by itself -------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["trickle", "trickle_head"])
def test_what_trickles_has_one_deadline_for_all_of_it(web: Web, answer: str) -> None:
    files = FleetFiles(web.url, HttpFetcher(deadline_s=0.5))
    with web.answering("slow", getattr(web, answer)), pytest.raises(ListUnavailable, match=r"0\.5 seconds"):
        files.fetch("slow", 1 << 20)


def test_no_more_is_read_than_a_file_may_have(web: Web) -> None:
    files = FleetFiles(web.url)
    with web.answering("big", web.endless), pytest.raises(ListTooLarge, match="larger"):
        files.fetch("big", 1000)
    with web.answering("big", web.endless):
        read = sum(len(chunk) for chunk in HttpFetcher().fetch(f"{web.url}/big"))
    assert FILE_BYTES_MAX < read <= FILE_BYTES_MAX + (1 << 20)


def test_it_works_inside_an_event_loop_too(web: Web) -> None:
    web.fleet.server.contents["file"] = b"contents"

    async def inside() -> bytes:
        return FleetFiles(web.url).fetch("file", 100)

    assert asyncio.run(inside()) == b"contents"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/file", "http:///file", "http://[::1/file"])
def test_an_address_where_nothing_is(url: str) -> None:
    with pytest.raises(DownloadError):
        list(HttpFetcher().fetch(url))
