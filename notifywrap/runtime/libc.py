"""prctl(2), which Python does not have."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:

    def prctl(option: int, value: int) -> None:
        """Change something about this process. Does nothing where the C library cannot be
        called."""

else:
    # The C half of ctypes: the Python half costs 0.8 MB more, for one function.
    try:
        import _ctypes

        _prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
    except (ImportError, OSError):
        _prctl = None

    def prctl(option, value):
        if _prctl is not None:
            _ctypes.call_function(_prctl, (option, value, 0, 0, 0))


__all__ = [
    "PR_SET_CHILD_SUBREAPER",
    "PR_SET_DUMPABLE",
    "PR_SET_NO_NEW_PRIVS",
    "PR_SET_PDEATHSIG",
    "prctl",
]

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
