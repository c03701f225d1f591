"""What --credential NAME[:VAR] asks for."""

from __future__ import annotations

import pytest

from notifywrap.errors import SpecError
from notifywrap.policy.credential import Credential, parse_credentials


def test_the_variable_is_the_name_in_capitals_or_what_is_asked_for():
    """`root_password:MINIO_ROOT_PASSWORD`, and the simple case is simple."""
    assert parse_credentials(["db-pass.word", "token:API_Token"], "X") == (
        Credential("db-pass.word", "DB_PASS_WORD", "X"),
        Credential("token", "API_Token", "X"),
    )


@pytest.mark.parametrize(
    ("texts", "fix"),
    [
        (["../etc/shadow:X"], "not the name of a credential"),
        ([":X"], "not the name of a credential"),
        (["..:X"], "not the name of a credential"),
        (["1password"], "write for example 1password:PASSWORD"),
        (["a:"], "write for example a:PASSWORD"),
        (["a:B=C"], "environment variable"),
        (["a:\u00c4"], "environment variable"),
        (["a:X", "b:X"], "X given twice"),
        (["a:NOTIFY_SOCKET"], "a meaning of its own"),
        (["listen-pid"], "a meaning of its own"),
        (["a:NOTIFYWRAP_JAIL"], "a meaning of its own"),
        (["a:PATH"], "a meaning of its own"),  # "not found in PATH=s3cret"
        (["path"], "a meaning of its own"),
        (["a:LD_PRELOAD"], "a meaning of its own"),  # ld.so prints what it cannot load
        (["a:GLIBC_TUNABLES"], "a meaning of its own"),
        (["a:GCONV_PATH"], "a meaning of its own"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(texts: list[str], fix: str):
    """Before anything starts: later nobody would know whose variable is missing."""
    with pytest.raises(SpecError, match=r"^--credential: ") as caught:
        parse_credentials(texts, "--credential")
    assert fix in str(caught.value)
