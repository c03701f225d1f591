"""What `--credential NAME[:VAR]` asks for."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Credential", "parse_credentials"]

# What systemd or the wrapper says to the target: no secret, and not to be mixed up with one.
_TAKEN = ("NOTIFY_SOCKET", "SYSTEMD_EXEC_PID", "CREDENTIALS_DIRECTORY")
_TAKEN_PREFIXES = ("LISTEN_", "WATCHDOG_", "NOTIFYWRAP_")
# What says which files are executed and loaded (environ(7), ld.so(8)). Whoever looks there in vain
# tells where it has looked, as in "not found in PATH=...", and the secret is in the journal.
_LOADERS = ("PATH", "GCONV_PATH", "LOCPATH", "NLSPATH")
_LOADERS_PREFIXES = ("LD_", "GLIBC_", "MALLOC_")


class Credential(NamedTuple):
    """A credential for the target's environment.

    name      of the file in $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=)
    variable  of the environment that gets what is in it
    label     what errors call the option
    """

    name: str
    variable: str
    label: str = "--credential"


def parse_credentials(texts: Sequence[str], label: str) -> tuple[Credential, ...]:
    """What NAME or NAME:VAR in *texts* ask for. Without VAR it is the name in capitals, with _ for
    - and dots.

    Raises SpecError naming *label* and the fix.
    """
    found: dict[str, Credential] = {}
    for text in texts:
        name, colon, variable = text.partition(":")
        if not colon:
            variable = name.upper().replace("-", "_").replace(".", "_")
        if not name or "/" in name or name in (".", ".."):
            raise SpecError(f"{label}: {name!r} is not the name of a credential (write NAME[:VAR])")
        if not variable.isidentifier() or not variable.isascii():
            raise SpecError(
                f"{label}: {variable!r} is not a name for an environment variable"
                f" (write for example {name}:PASSWORD)"
            )
        if variable in _TAKEN + _LOADERS or variable.startswith(
            _TAKEN_PREFIXES + _LOADERS_PREFIXES
        ):
            raise SpecError(f"{label}: {variable} has a meaning of its own (choose another one)")
        if variable in found:
            raise SpecError(f"{label}: {variable} given twice")
        found[variable] = Credential(name, variable, label)
    return tuple(found.values())
