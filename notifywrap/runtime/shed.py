"""What the start alone needs goes out of memory when the target runs: the command line, the options
and their values, the presets. What is loaded after that takes its place: 0.2 MB beside each
service."""

from __future__ import annotations

import gc
import sys

__all__ = ["ONCE", "shed"]

ONCE = (
    "notifywrap.cli.config",
    "notifywrap.cli.httpsetup",
    "notifywrap.cli.options",
    "notifywrap.cli.presets",
    "notifywrap.cli.settings",
    "notifywrap.cli.tomlfile",
    "notifywrap.cli.values",
    "notifywrap.policy.defaults",
    "notifywrap.policy.httpoptions",
    "notifywrap.policy.probespec",
    "notifywrap.policy.targetspec",
    "notifywrap.protocol.grant",
    "notifywrap.runtime.parts",
)


def shed() -> None:
    """Unload the modules that nobody needs again, and look for garbage from now on.

    What of them is still in use stays; an import loads them anew.
    """
    for name in ONCE:
        if sys.modules.pop(name, None) is not None:
            package, _, own = name.rpartition(".")
            delattr(sys.modules[package], own)
    gc.collect()  # functions and the names of their module hold each other
    gc.freeze()  # what is left stays to the end
    gc.enable()
