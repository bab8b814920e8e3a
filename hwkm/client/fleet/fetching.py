"""Where a fleet's public files come from: a directory, or a web server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from hwkm.errors import ConfigError, FormatError, ListUnavailable

_CHUNK_BYTES: Final = 64 * 1024


class FileFetcher(FetcherInterface):
    """Reads ``file:`` URLs; for a mirror on disk, on a medium, or made by rsync."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise DownloadHTTPError(f"{path} does not exist", 404) from None
        with file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


class FleetFiles:
    """The files of a fleet, by their paths below its address."""

    def __init__(self, source: str) -> None:
        """Take a directory or an address.

        Raises:
            ConfigError: it is neither.
        """
        self.base_url = base_url_of(source)
        self.fetcher = fetcher_of(self.base_url)

    def fetch(self, path: str, bytes_max: int) -> bytes:
        """Return a file of so many bytes at most.

        Raises:
            FormatError: it is larger.
            ListUnavailable: it cannot be fetched.
        """
        try:
            return self.fetcher.download_bytes(f"{self.base_url}/{path}", bytes_max)
        except DownloadLengthMismatchError as exc:
            raise FormatError(f"a file of the fleet is larger than it may be: {exc}") from exc
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
    if base_url.startswith("file:"):
        return FileFetcher()
    return Urllib3Fetcher(app_user_agent="hwkm")
