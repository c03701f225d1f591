"""Credentials: what systemd gives to a service in files, see systemd.exec(5), LoadCredential=."""

from __future__ import annotations

import os
import stat

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from notifywrap.policy.credential import Credential

__all__ = ["add_credentials", "read_credential"]

_MOST = 65536  # bytes


def read_credential(name: str, option: str) -> bytes:
    """What the credential *name* holds.

    Raises SpecError naming *option* and the fix.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    fix = f"add LoadCredential={name}:/path/to/it to the unit"
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise SpecError(f"{option}: {name!r} is not the name of a credential")
    if not directory:
        raise SpecError(f"{option}: there are no credentials here ({fix})")
    try:
        # A FIFO would have us wait, deaf to TERM. Of a regular file the flag changes nothing.
        fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SpecError(f"{option}: the credential {name!r} is not a regular file")
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        raise SpecError(f"{option}: there is no credential {name!r} ({fix})") from None
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise SpecError(f"{option}: cannot read the credential {name!r}: {why}") from None
    if len(data) > _MOST:
        raise SpecError(f"{option}: the credential {name!r} is longer than {_MOST} bytes")
    return data


def add_credentials(env: dict[str, str], credentials: Iterable[Credential]) -> None:
    """Put *credentials* into *env*, the environment of the target.

    To be called in the process that becomes the target: no secret gets into the wrapper's memory.
    Raises SpecError naming the option.
    """
    for each in credentials:
        # Editors and echo(1) end a file with a newline that is no part of the secret. One, as
        # $(cat FILE) would take them all: a second one was meant.
        data = read_credential(each.name, each.label).removesuffix(b"\n")
        if b"\0" in data:
            raise SpecError(
                f"{each.label}: the credential {each.name!r} has a NUL byte in it, which no"
                " environment variable can hold (let the target read the file)"
            )
        env[each.variable] = os.fsdecode(data)
