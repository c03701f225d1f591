"""`https://`: who the server is, and all that can be wrong about it, against a real nginx."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notifywrap.errors import SpecError
from notifywrap.policy import httpoptions
from notifywrap.policy.events import Outcome
from notifywrap.policy.probespec import parse_probe
from notifywrap.probes import open_attempt
from notifywrap.probes.tls import context_for
from tests.ports import free_port
from tests.probes.certificates import Certificates, make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.policy.probe import HttpProbe

SERVER = """
    server {{
        listen 127.0.0.1:{port} {tls};
        ssl_certificate {home}/{certificate}.pem;
        ssl_certificate_key {home}/{certificate}.key;
        {more}
        location / {{ default_type text/plain; return 200 "served\\n"; }}
        location /sick {{ return 503; }}
        location /big {{ alias {home}/big; }}
    }}
"""
# name -> (certificate, listen ... ssl, further lines)
SERVERS = {
    "good": ("good", "ssl", ""),
    "wrong": ("wrong", "ssl", ""),
    "expired": ("expired", "ssl", ""),
    "members": ("good", "ssl", "ssl_client_certificate {home}/ca.pem; ssl_verify_client on;"),
    "old": ("good", "ssl", "ssl_protocols TLSv1.2;"),
    "plain": ("good", "", ""),
}


class Nginx:
    """One nginx with a server of each kind."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.home = home = certificates.home
        self.ports = {name: free_port() for name in SERVERS}
        (home / "big").write_bytes(b"x" * 60000)
        servers = "".join(
            SERVER.format(
                port=self.ports[name],
                home=home,
                certificate=of,
                tls=tls,
                more=more.format(home=home),
            )
            for name, (of, tls, more) in SERVERS.items()
        )
        (home / "nginx.conf").write_text(
            f"daemon off; master_process off; user root; pid {home}/pid;\n"
            f"error_log {home}/error.log info;\n"
            f"events {{ }}\nhttp {{ access_log {home}/access.log; {servers} }}\n"
        )
        self.command = ["/usr/sbin/nginx", "-e", f"{home}/error.log", "-c", f"{home}/nginx.conf"]
        self.process = subprocess.Popen(self.command)
        deadline = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", self.ports["plain"])):
            assert time.monotonic() < deadline, (home / "error.log").read_text()
            assert self.process.poll() is None, (home / "error.log").read_text()

    def url(
        self, name: str, path: str = "/", host: str = "127.0.0.1", scheme: str = "https"
    ) -> str:
        return f"{scheme}://{host}:{self.ports[name]}{path}"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return (self.home / "error.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def nginx(certificates: Certificates) -> Iterator[Nginx]:
    started = Nginx(certificates)
    yield started
    started.end()


def resolve(host: str, port: int, option: str) -> tuple[tuple[str, int], ...]:
    """Every name leads here, so that names can be tested without a name server."""
    return (("127.0.0.1", port),)


def probe(text: str, **options: str | list[str]) -> HttpProbe:
    """The probe of this text with options such as tls_ca="..." or http_header=["K:V"]."""
    values = {
        "--" + name.replace("_", "-"): [value] if isinstance(value, str) else value
        for name, value in options.items()
    }
    parsed = httpoptions.parse(values, str)  # type: ignore[arg-type]
    made: HttpProbe = httpoptions.apply(parse_probe(text, "--probe", resolve), parsed)
    assert made.tls is not None or text.startswith("http:")
    return made


def test_a_certificate_of_the_named_authority_passes(nginx, attempt):
    """The usual case, by name and by address, with TLS 1.3 and 1.2."""
    ca = nginx.certificates.pem("ca")
    for url in (nginx.url("good"), nginx.url("good", host="shop.example"), nginx.url("old")):
        sample = attempt(probe(url, tls_ca=ca))
        assert (sample.outcome, sample.reason) == (Outcome.PASSED, ""), url


@pytest.mark.parametrize(
    ("server", "host", "words"),
    [
        ("wrong", "127.0.0.1", "the server's certificate is not for 127.0.0.1"),
        ("wrong", "shop.example", "the server's certificate is not for shop.example"),
        ("expired", "127.0.0.1", "the server's certificate has expired"),
    ],
)
def test_a_certificate_that_no_client_would_take_fails_and_says_why(
    nginx, attempt, server, host, words
):
    """A service whose clients all turn away is not healthy."""
    sample = attempt(probe(nginx.url(server, host=host), tls_ca=nginx.certificates.pem("ca")))
    assert sample.outcome is Outcome.FAILED
    assert sample.reason.endswith(words)
    assert attempt(probe(nginx.url(server), tls_insecure="yes")).outcome is Outcome.PASSED


def test_an_unknown_authority_fails_with_the_fix_except_on_the_loopback(nginx, attempt):
    """Nobody has a public certificate for 127.0.0.1; anywhere else it is checked by default."""
    assert attempt(probe(nginx.url("good"))).outcome is Outcome.PASSED
    assert attempt(probe(nginx.url("good", host="localhost"))).outcome is Outcome.PASSED
    named = nginx.url("good", host="shop.example")
    sample = attempt(probe(named))
    assert sample.outcome is Outcome.FAILED
    assert sample.reason.endswith("from an unknown authority (--tls-ca FILE or --tls-insecure)")
    assert attempt(probe(named, tls_insecure="yes")).outcome is Outcome.PASSED


def test_a_host_header_is_the_name_that_is_asked_for(nginx, attempt):
    """Traefik and Caddy choose site and certificate by it; the connection goes to the loopback."""
    ca = nginx.certificates.pem("ca")
    good = probe(nginx.url("good"), tls_ca=ca, http_header=["Host:shop.example:8443"])
    assert good.tls is not None
    assert good.tls.name == "shop.example"
    assert attempt(good).outcome is Outcome.PASSED
    bad = probe(nginx.url("good"), tls_ca=ca, http_header=["Host:else.example"])
    assert "not for else.example" in attempt(bad).reason


@pytest.mark.parametrize("name", [".example", "a" * 300, "a" * 70 + ".example"])
def test_a_name_that_cannot_be_one_fails_and_does_not_raise(nginx, attempt, name):
    """OpenSSL and Python refuse some of them in their own ways."""
    sample = attempt(probe(nginx.url("good", host=name), tls_ca=nginx.certificates.pem("ca")))
    assert sample.outcome is Outcome.FAILED
    assert len(sample.reason) < 200


def test_a_client_certificate_is_shown_to_who_asks_for_it(nginx, attempt):
    """mTLS: without one nginx says 400."""
    pems = nginx.certificates
    without = attempt(probe(nginx.url("members"), tls_ca=pems.pem("ca")))
    assert (without.outcome, without.reason) == (Outcome.FAILED, "HTTP 400")
    shown = probe(
        nginx.url("members"),
        tls_ca=pems.pem("ca"),
        tls_cert=pems.pem("client"),
        tls_key=pems.key("client"),
    )
    assert attempt(shown).outcome is Outcome.PASSED


def test_a_server_that_insists_on_a_certificate_is_understood(spawn, certificates, attempt):
    """In TLS 1.3 the refusal comes after the handshake, where an answer would be."""
    server = spawn(
        """
        import ssl
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(sys.argv[1] + "/good.pem", sys.argv[1] + "/good.key")
        c.load_verify_locations(sys.argv[1] + "/ca.pem"); c.verify_mode = ssl.CERT_REQUIRED
        s = say_port(listen())
        while True:
            try: c.wrap_socket(s.accept()[0], server_side=True).recv(9)
            except OSError as e: pass
        """,
        str(certificates.home),
    )
    sample = attempt(probe(f"https://127.0.0.1:{server.port()}/"))
    assert sample.outcome is Outcome.FAILED
    assert "the server wants a certificate from us (--tls-cert FILE)" in sample.reason


def test_the_status_and_the_body_count_as_over_http(nginx, attempt):
    """TLS is only the way there; a body of 60 kB comes in many records."""
    assert attempt(probe(nginx.url("good", "/sick"))).reason == "HTTP 503"
    assert attempt(probe(nginx.url("good"), http_body="^served$")).outcome is Outcome.PASSED
    assert attempt(probe(nginx.url("good", "/big"), http_body="x{60000}")).outcome is Outcome.PASSED
    assert attempt(probe(nginx.url("good"), http_body="swerved")).outcome is Outcome.FAILED


def test_plain_http_and_tls_that_meet_say_so(nginx, spawn, attempt):
    """The commonest mistake there is in a URL."""
    sample = attempt(probe(nginx.url("plain")))
    assert sample.outcome is Outcome.FAILED
    assert sample.reason.endswith("the server does not speak TLS (write http://)")
    banner = spawn("s = say_port(listen()); s.accept()[0].sendall(b'SSH-2.0-x\\r\\n'); input()")
    sample = attempt(probe(f"https://127.0.0.1:{banner.port()}/"))
    assert sample.reason.endswith("the server does not speak TLS: 'SSH-2.0-x'")
    sample = attempt(probe(nginx.url("good", scheme="http")))
    assert sample.reason == "HTTP 400 (does it want https://?)"


def test_the_server_sees_an_orderly_end(nginx, attempt):
    """No reset, no complaint: nginx's log at level info tells every oddity of a client."""
    before = nginx.log()
    for path in ("/", "/big", "/sick") * 5:
        attempt(probe(nginx.url("good", path)))
        attempt(probe(nginx.url("old", path)))
    said = nginx.log()[len(before) :].splitlines()
    of_others = f"server: 127.0.0.1:{nginx.ports['plain']}"  # of who waited until nginx was up
    assert [line for line in said if of_others not in line] == []


@pytest.mark.parametrize("answer", ["", "c.recv(9999)", "c.recv(9999); c.send(b'\\x16\\x03\\x03')"])
def test_a_server_that_stalls_in_the_handshake_times_out(spawn, attempt, answer):
    """Its port is open, and it hangs: what the watchdog is for."""
    server = spawn(f"s = say_port(listen()); c = s.accept()[0]; {answer or 'pass'}; input()")
    sample = attempt(probe(f"https://127.0.0.1:{server.port()}/"), timeout_s=0.3)
    assert sample.outcome is Outcome.TIMED_OUT
    assert sample.reason.endswith("the TLS handshake does not end")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("c.shutdown(socket.SHUT_WR)", "closed during the TLS handshake"),
        ("c.send(b'\\x15\\x03\\x03\\x00\\x02\\x02\\x28')", "refuses TLS: handshake failure"),
        ("c.send(b'\\x15\\x03\\x03\\x00\\x02\\x02\\x70')", "refuses TLS: unrecognized name"),
        ("c.send(b'\\x16\\x03\\x03\\x00\\x05aaaaa')", "TLS: "),
        ("c.send(b'\\x16\\x03\\x03\\xff\\xff' + b'a' * 70000)", "TLS: "),
        ("while True: c.send(b'\\x16\\x03\\x03\\x00\\x04\\x00\\x00\\x00\\x00' * 99)", "more than"),
    ],
)
def test_a_hostile_server_fails_with_a_reason(spawn, attempt, answer, words):
    """Whatever it sends: bounded, and no exception."""
    server = spawn(
        f"s = say_port(listen()); c = s.accept()[0]; c.recv(9999)\n"
        f"try:\n    {answer}\nexcept OSError: pass\ninput()"
    )
    sample = attempt(probe(f"https://127.0.0.1:{server.port()}/"))
    assert sample.outcome is Outcome.FAILED
    assert words in sample.reason
    assert len(sample.reason) < 150


def test_a_stopped_server_times_out(certificates, attempt):
    """The plainest hang."""
    nginx = Nginx(certificates)
    try:
        asked = probe(nginx.url("good"))
        assert attempt(asked).outcome is Outcome.PASSED
        os.kill(nginx.process.pid, signal.SIGSTOP)
        assert attempt(asked, timeout_s=0.3).outcome is Outcome.TIMED_OUT
    finally:
        nginx.end()


def test_files_that_cannot_be_used_are_named_at_the_start(certificates, tmp_path):
    """Not at 03:00, and not as "PEM lib (_ssl.c:3901)"."""
    good, key = certificates.pem("good"), certificates.key("good")
    encrypted, empty = tmp_path / "encrypted", tmp_path / "empty"
    empty.touch()
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", encrypted],
        check=True,
        capture_output=True,
    )

    def refusal(**options: str) -> str:
        with pytest.raises(SpecError) as caught:
            context_for(probe("https://127.0.0.1/", **options).tls)
        return str(caught.value)

    assert refusal(tls_ca="/none").startswith("--tls-ca: cannot read '/none': no such file")
    assert refusal(tls_ca=str(empty)).startswith("--tls-ca: ")
    assert refusal(tls_ca=key).startswith("--tls-ca: ")
    assert refusal(tls_ca=str(tmp_path)).startswith("--tls-ca: ")
    assert refusal(tls_cert=good).startswith("--tls-cert: no certificate with its key in")
    assert refusal(tls_cert=good, tls_key="/none").startswith("--tls-key: cannot read '/none'")
    assert refusal(tls_cert=good, tls_key=certificates.key("ca")).startswith(
        "--tls-key: is not the key of"
    )
    assert "is encrypted" in refusal(tls_cert=good, tls_key=str(encrypted))


def test_a_renewed_authority_is_noticed_without_a_restart(nginx, certificates, attempt, tmp_path):
    """Certificates that live for a day are common: the probe must not fail on the second."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Path(certificates.pem("wrong")).read_bytes())
    asked = probe(nginx.url("good"), tls_ca=str(ca))
    assert attempt(asked).outcome is Outcome.FAILED
    fresh = tmp_path / "fresh"
    fresh.write_bytes(Path(certificates.pem("ca")).read_bytes())
    fresh.rename(ca)
    assert attempt(asked).outcome is Outcome.PASSED
    ca.unlink()
    gone = attempt(asked)
    assert (gone.outcome, "--tls-ca" in gone.reason) == (Outcome.BROKEN, True)


def test_few_wakeups_are_enough(nginx, targets, drive):
    """A handshake takes two turns; reading on in the same wake-up spares the others."""
    asked, target = probe(nginx.url("good")), targets()
    counts: list[int] = sorted(drive(open_attempt(asked, target)).wakeups for _ in range(50))
    assert counts[40] <= 4
