"""The standard library's `typing.NamedTuple`, `enum.Enum`, `os`, `socket` and `signal`, without
their weight.

notifywrap sits in memory beside every service it watches. Beside a bare interpreter of 7.6 MB,
`typing` costs
2.1 MB, `enum` 1.0 MB and `socket` 1.5 MB, and together they double the time until the target runs
(measured with
Python 3.11 on Debian 12). Type checkers see the real ones; at run time there are these few lines
and the C modules
that `socket` and `signal` themselves are built on.
"""

from __future__ import annotations

import sys

__all__ = ["TYPE_CHECKING", "Enum", "NamedTuple", "os", "signal", "socket"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    import signal
    import socket
    from enum import Enum
    from typing import NamedTuple
else:
    import _signal as signal
    import _socket as socket
    import sys
    from _collections import _tuplegetter as getter  # what namedtuple() makes its fields of

    if "os" in sys.modules:
        import os
    else:  # started without it, by -S
        from notifywrap import leanos as os

    class _RecordType(type):
        """Makes `class Point(NamedTuple): x: int; y: int = 0` an immutable tuple with named
        fields."""

        def __new__(mcs, name, bases, namespace):
            if bases:  # strings, because every module here has `from __future__ import annotations`
                fields = tuple(namespace.pop("__annotations__", ()))
                namespace["_defaults"] = {f: namespace[f] for f in fields if f in namespace}
                for index, field in enumerate(fields):
                    namespace[field] = getter(index, None)
                namespace["_fields"] = namespace["__match_args__"] = fields
            namespace.setdefault("__slots__", ())
            return super().__new__(mcs, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_RecordType):
        """A frozen record: compared, hashed and unpacked as a tuple."""

        def __new__(cls, *values, **named):
            fields = cls._fields
            if named or len(values) != len(fields):
                rest = fields[len(values) :]
                merged = {**cls._defaults, **named}
                if (
                    len(values) > len(fields)
                    or not merged.keys() >= set(rest)
                    or set(named) - set(rest)
                ):
                    raise TypeError(f"{cls.__name__} takes {fields}, got {values} and {named}")
                values = (*values, *[merged[field] for field in rest])
            return tuple.__new__(cls, values)

        def _replace(self, **changes):
            return type(self)(**{**self._asdict(), **changes})

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            inside = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({inside})"

    class _EnumType(type):
        """Makes each plain value of an Enum's body a single member with `name` and `value`."""

        def __new__(mcs, name, bases, namespace):
            values = {
                k: v
                for k, v in namespace.items()
                if not (k.startswith("_") or hasattr(v, "__get__"))
            }
            cls = super().__new__(
                mcs, name, bases, {k: namespace[k] for k in namespace if k not in values}
            )
            cls._members = []
            for key, value in values.items():
                member = object.__new__(cls)
                member.name, member.value = key, value
                type.__setattr__(cls, key, member)
                cls._members.append(member)
            return cls

        def __iter__(cls):
            return iter(cls._members)

        def __len__(cls):
            return len(cls._members)

        def __bool__(cls):
            return True

    class Enum(metaclass=_EnumType):
        """A closed set of named values, compared by identity."""

        def __repr__(self):
            return f"{type(self).__name__}.{self.name}"
