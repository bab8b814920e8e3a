"""Where a fleet's public files come from: a directory, or a web server.

A server is not trusted with our time and memory either: a file has a length that it may have at most and a
deadline for all of it, whatever trickles in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import httpx
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

from hwkm.errors import ConfigError, FleetError, FormatError, ListMalformed, ListTooLarge, ListUnavailable

FILE_BYTES_MAX: Final = 17 * 1024 * 1024
"""A little more than the largest file of a fleet, which is evidence."""
DEADLINE_S: Final = 60.0

_CHUNK_BYTES: Final = 64 * 1024
_STEP_TIMEOUT_S: Final = 10.0


class FileFetcher(FetcherInterface):
    """Reads ``file:`` URLs; for a mirror on disk, on a medium, or made by rsync."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise DownloadHTTPError(f"{path} does not exist", 404) from None
        except OSError as exc:
            raise DownloadError(f"{path}: {exc.strerror}") from exc
        with file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


class HttpFetcher(FetcherInterface):
    """Reads ``http:`` and ``https:`` URLs. Redirections are not followed.

    The whole answer, head included, has ``deadline_s`` seconds. Asyncio ends it then, in a thread of its own, so
    that it works inside and outside of event loops.
    """

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s

    def _fetch(self, url: str) -> Iterator[bytes]:
        with ThreadPoolExecutor(1, "hwkm-fetch") as thread:
            yield from thread.submit(asyncio.run, self._get(url)).result()

    async def _get(self, url: str) -> list[bytes]:
        """Return the file; of one that is too long a little more than is allowed."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await _read(url)
        except TimeoutError:
            raise DownloadError(f"{url} was not there within {self._deadline_s:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise DownloadError(f"{url}: {str(exc) or type(exc).__name__}") from exc


async def _read(url: str) -> list[bytes]:
    chunks, size = [], 0
    async with (
        httpx.AsyncClient(timeout=_STEP_TIMEOUT_S, headers={"User-Agent": "hwkm"}) as client,
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise DownloadHTTPError(f"{url}: HTTP status {response.status_code}", response.status_code)
        async for chunk in response.aiter_raw():
            chunks.append(chunk)
            size += len(chunk)
            if size > FILE_BYTES_MAX:
                break
    return chunks


class FleetFiles:
    """The files of a fleet, by their paths below its address."""

    def __init__(self, source: str, fetcher: FetcherInterface | None = None) -> None:
        """Take a directory or an address, and what fetches from it if not the usual.

        Raises:
            ConfigError: it is neither.
        """
        self.base_url = base_url_of(source)
        self.fetcher = fetcher or fetcher_of(self.base_url)

    def fetch(self, path: str, bytes_max: int) -> bytes:
        """Return a file of so many bytes at most.

        Raises:
            ListTooLarge: it is larger.
            ListUnavailable: it cannot be fetched.
        """
        try:
            return self.fetcher.download_bytes(f"{self.base_url}/{path}", bytes_max)
        except DownloadLengthMismatchError as exc:
            raise ListTooLarge(f"a file of the fleet is larger than it may be: {exc}") from exc
        except DownloadError as exc:
            raise ListUnavailable(f"the fleet's files cannot be fetched: {exc}") from exc

    def fetch_if_there(self, path: str, bytes_max: int) -> bytes | None:
        """Return a file, or None if the fleet has none of that name. Raises as :meth:`fetch`."""
        try:
            return self.fetch(path, bytes_max)
        except ListUnavailable as exc:
            if isinstance(exc.__cause__, DownloadHTTPError) and exc.__cause__.status_code == 404:
                return None
            raise


@contextmanager
def reading_a_list() -> Iterator[None]:
    """Raise ListMalformed for what is not in its form while a list is read."""
    try:
        yield
    except FleetError:
        raise
    except FormatError as exc:
        raise ListMalformed(str(exc)) from exc


def base_url_of(source: str) -> str:
    """Return the URL of a directory or of an ``https:`` (for tests: loopback ``http:``) address.

    Raises:
        ConfigError: it is neither.
    """
    scheme = urlsplit(source).scheme
    if scheme in ("http", "https", "file"):
        return source.rstrip("/")
    if not scheme:
        return Path(source).absolute().as_uri()
    raise ConfigError(f"{source}: a fleet is fetched from a directory, or by http or https")


def fetcher_of(base_url: str) -> FetcherInterface:
    """Return what fetches from ``base_url``."""
    return FileFetcher() if base_url.startswith("file:") else HttpFetcher()
