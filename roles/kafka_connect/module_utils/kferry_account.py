"""Act as the account of a task while its files are touched: root never follows what that account may have put there."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path


def account_of(name):
    """The account's (uid, gid), or None: no name was given (we act as ourselves) or there is no such account yet."""
    if not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


@contextlib.contextmanager
def acting_as(account):
    """Have only the account's rights; where it is None or we already are it, nothing changes."""
    if account is None or account[0] == os.geteuid():
        yield
        return
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups([account[1]])
    os.setegid(account[1])
    os.seteuid(account[0])
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def own_folder(path, account, mode):
    """Make a folder with this owner and mode; True where something had to change. Its parent must not be theirs."""
    path = Path(path)
    wanted = account or (os.geteuid(), os.getegid())
    if path.is_symlink():
        raise OSError(f"{path} is a link; a folder is expected")
    if not path.is_dir():
        path.mkdir(mode=mode, parents=True)
    elif is_owned(path, wanted, mode):
        return False
    os.chown(str(path), wanted[0], wanted[1])
    path.chmod(mode)
    return True


def is_owned(path, account, mode):
    """Whether a folder is there with this owner and mode."""
    try:
        found = Path(path).lstat()
    except OSError:
        return False
    owner = account or (os.geteuid(), os.getegid())
    return (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (owner[0], owner[1], mode)
