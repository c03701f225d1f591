"""`systemctl freeze` and `thaw`, which want a D-Bus daemon; without one systemd itself is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Lab

# What systemctl does for all other verbs: the same call, over systemd's private socket.
CALL = """
import ctypes, sys
method, unit = (word.encode() for word in sys.argv[1:])
bus, library = ctypes.c_void_p(), ctypes.CDLL("libsystemd.so.0")
def check(result):
    if result < 0:
        sys.exit(f"{method}: errno {-result}")
check(library.sd_bus_new(ctypes.byref(bus)))
check(library.sd_bus_set_address(bus, b"unix:path=/run/systemd/private"))
check(library.sd_bus_start(bus))
manager = (b"/org/freedesktop/systemd1", b"org.freedesktop.systemd1.Manager", method)
check(library.sd_bus_call_method(bus, None, *manager, None, None, b"s", unit))
"""


def freeze(lab: Lab, unit: str) -> None:
    """Returns when every process of the unit is frozen."""
    lab.run("/usr/bin/python3", "-I", "-c", CALL, "FreezeUnit", unit, check=True)


def thaw(lab: Lab, unit: str) -> None:
    """Returns when they run again."""
    lab.run("/usr/bin/python3", "-I", "-c", CALL, "ThawUnit", unit, check=True)
