"""What a script's first line has executed, against what the kernel and env(1) do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.policy.shebang import find_env_command, parse_shebang


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (b"#!/bin/sh\nrest", (b"/bin/sh", b"")),
        (b"#! \t/bin/sh \t-e  -u \n", (b"/bin/sh", b"-e  -u")),
        (b"#!/bin/sh\r\n", (b"/bin/sh\r", b"")),
        (b"#!/bin/sh\0 -e\n", (b"/bin/sh", b"")),
        (b"#!\n", (b"", b"")),
        (b"\x7fELF", (b"", b"")),
        (b"", (b"", b"")),
    ],
)
def test_a_line_is_split_once_as_the_kernel_does(head: bytes, wanted: tuple[bytes, bytes]):
    """fs/binfmt_script.c; a carriage return is part of the name, and no such file is there."""
    assert parse_shebang(head) == wanted


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        ("python3", "python3"),
        ("python3 -u", "python3 -u"),  # "use -[v]S to pass options in shebang lines"
        ("-S python3 -u", "python3"),
        ("-Spython3 -u", "python3"),
        ("-vS python3 -u", "python3"),
        ("--split-string=python3 -u", "python3"),
        ("-S A=b C=d python3 A=b", "python3"),
        ("-S -u HOME --ignore-signal=PIPE python3", "python3"),
        ("-S --unset=HOME -v -- python3", "python3"),
        ("-iS /bin/sh", "/bin/sh"),
        ("-S -i /bin/sh", "/bin/sh"),
        ("-S PATH=/opt/bin /bin/sh", "/bin/sh"),
        ("", None),
        ("A=b", None),
        ("-i", None),
        ("-iS sh", None),
        ("-S -i sh", None),
        ("-S - sh", None),
        ("-S -u PATH sh", None),
        ("-S --unset=PATH sh", None),
        ("-S PATH=/opt/bin sh", None),
        ("-S -C / ./sh", None),
        ("-S -u", None),
        ("-S", None),
        ("-u HOME", None),
        ("-S 'sh' x", None),
        ("-S ${SHELL}", None),
        ("-S s\\_h", None),
        ("-S sh #x", None),
        ("-uS sh", None),  # S is what it unsets
    ],
)
def test_what_env_executes_is_told_where_it_can_be(argument: str, command: str | None):
    """A jail that opens the wrong file would be as bad as one that opens none."""
    assert find_env_command(argument) == command


@given(st.binary(max_size=60), st.text(alphabet="-SiuvPATHC= \t\"'$\\#/sh0", max_size=30))
def test_no_line_is_too_odd(head: bytes, argument: str):
    """Whoever writes the script must get no more than an exec that fails."""
    interpreter, rest = parse_shebang(b"#!" + head)
    assert not set(interpreter) & set(b" \t\n\0")
    assert interpreter or not rest
    command = find_env_command(argument)
    assert command is None or command in argument
