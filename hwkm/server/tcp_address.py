"""An address to listen at: a literal IP address and a port, never a name."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

_ADDRESS: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where to listen. Port 0 lets the system choose."""

    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.ip.is_loopback

    def __str__(self) -> str:
        host = f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)
        return f"{host}:{self.port}"


def parse_address(text: str) -> TcpAddress | None:
    """Read ``127.0.0.1:8443`` or ``[::1]:8443``; None if it is neither."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 65535:
        return None
    try:
        ip = ipaddress.IPv6Address(found[1]) if found[1] else ipaddress.IPv4Address(found[2])
    except ValueError:
        return None
    return TcpAddress(ip, int(found[3]))
