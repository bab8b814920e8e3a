"""The network socket of the AWS wire, and its TLS."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from hwkm.core.pin_file import check_mode
from hwkm.errors import ConfigError
from hwkm.server.listener import BACKLOG
from hwkm.server.tcp_address import TcpAddress


def listening_socket(address: TcpAddress) -> socket.socket:
    """Listen at an address.

    Raises:
        ConfigError: it cannot be listened at.
    """
    family = socket.AF_INET6 if address.ip.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address.ip), address.port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"[aws] listen = {address}: {exc.strerror}") from exc
    return listener


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with a certificate of ours.

    Raises:
        ConfigError: the two cannot be read, do not belong together, or others may read the key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        check_mode(str(key), key.stat(), "TLS key")
        # A key under a password would ask on the terminal; there is nobody to answer.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as exc:
        raise ConfigError(f"TLS certificate {certificate} and key {key}: {exc.reason or exc}") from exc
    except OSError as exc:
        raise ConfigError(f"{exc.filename or certificate}: {exc.strerror}") from exc
    return context
