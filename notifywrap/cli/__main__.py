"""Which command is meant. Only the wrapper's own modules are imported for the wrapper."""

from __future__ import annotations

import gc
import sys

from notifywrap.lean import TYPE_CHECKING, signal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (without the program's name) asks for; returns the exit
    status."""
    words = sys.argv[1:] if argv is None else argv
    first = words[0] if words else ""
    if first == "try":
        from notifywrap.cli import try_

        return try_.main(words[1:])
    if first == "probe":
        from notifywrap.cli import probe

        return probe.main(words[1:])
    if first == "reload":
        from notifywrap.cli import reload

        return reload.main(words[1:])
    if first == "drill":
        from notifywrap.cli import drill

        return drill.main(words[1:])
    if first == "harden":
        from notifywrap.cli import harden

        return harden.main(words[1:])
    if first == "check":
        from notifywrap.cli import check

        return check.main(words[1:])
    if first == "unit":
        from notifywrap.cli import unit

        return unit.main(words[1:])
    if first in ("--help", "-h", "help", "--version"):
        from notifywrap.cli import about

        return about.main(words)
    if callable(signal.getsignal(signal.SIGINT)):
        # Python makes an exception of it, which gets lost in the middle of an import: INT then ends
        # nobody. Until the wrapper takes over it does what it does to any program.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # what is loaded now is no garbage: see runtime/shed.py
    try:
        from notifywrap.cli import wrapper

        return wrapper.main(words)
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
