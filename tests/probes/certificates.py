"""An authority of the tests' own and what it has signed, made with openssl(1) in 0.2 s."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Certificates(NamedTuple):
    """PEM files NAME.pem with NAME.key in *home*.

    ca       the authority
    good     for 127.0.0.1, localhost and shop.example
    wrong    for other.example
    expired  for 127.0.0.1, until yesterday
    client   somebody who is allowed in
    """

    home: Path

    def pem(self, name: str) -> str:
        return str(self.home / f"{name}.pem")

    def key(self, name: str) -> str:
        return str(self.home / f"{name}.key")


_NAMES = {
    "good": "IP:127.0.0.1,DNS:localhost,DNS:shop.example",
    "wrong": "DNS:other.example",
    "expired": "IP:127.0.0.1",
    "client": "DNS:client",
}


def make_certificates(home: Path) -> Certificates:
    """All of them, in *home*."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=home, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650",
            "-subj", "/CN=authority of the tests")  # fmt: skip
    for name, names in _NAMES.items():
        (home / f"{name}.ext").write_text(f"subjectAltName={names}")
        openssl("req", "-new", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        days = "-1" if name == "expired" else "3650"
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", days,
                "-extfile", f"{name}.ext")  # fmt: skip
    return Certificates(home)
