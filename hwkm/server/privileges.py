"""Giving up root before looking at what belongs to another user."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def become_owner_of(path: Path) -> None:
    """As root, become the user who owns ``path``, for good; otherwise do nothing.

    What root would make or change in the daemon's files, the daemon could not use any more.
    """
    try:
        owner = path.stat().st_uid
    except OSError:
        return
    if os.geteuid() != 0 or owner == 0:
        return
    try:
        user = pwd.getpwuid(owner)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
    except KeyError:
        os.setgroups([])
    os.setuid(owner)
