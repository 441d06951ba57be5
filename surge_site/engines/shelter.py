"""Folders another system user may enter: needed when we are root and PostgreSQL must not be."""

import os
import secrets
import stat
from pathlib import Path

from surge_site.engines.process import SystemUser

SHELTERS = (Path("/var/lib/surge"), Path("/var/tmp/surge"))  # both outlive a restart of the machine


def is_open_to(path: Path, user: SystemUser) -> bool:
    """May this user walk down to the path?"""
    return all(_may_enter(folder, user) for folder in path.resolve().parents)


def path_open_inside(path: Path, top: Path, user: SystemUser) -> bool:
    """Open our own folders, from `top` down to `path`, for passing through; False when one above stays closed."""
    if not is_open_to(top, user):
        return False
    for folder in (path, *path.parents):
        if not _may_enter(folder, user):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)
        if folder == top:
            break
    return is_open_to(path / "inside", user)


def folder_shelter(user: SystemUser, name: str | None = None) -> Path:
    """Return a folder outside the project that `user` can reach; a new one each time when it has no name."""
    for top in SHELTERS:
        try:
            top.mkdir(mode=0o711, parents=True, exist_ok=True)
        except OSError:
            continue
        if top.is_symlink() or top.stat().st_uid != os.geteuid():  # a stranger made it: not ours to use
            continue
        folder = top / (name or secrets.token_hex(4))
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if is_open_to(folder / "inside", user):
            return folder
    raise OSError(
        f"PostgreSQL cannot run as root, and no folder of {', '.join(map(str, SHELTERS))} can be made for it: "
        "start ./surge as an ordinary user, or set SURGE_DATABASE_URL."
    )


def _may_enter(folder: Path, user: SystemUser) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    if found.st_uid == user.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == user.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
