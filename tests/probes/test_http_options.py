"""`--http-...` and `--tls-...`: understood completely, or refused before anything starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.cli.httpsetup import read_credential, with_http_options
from notifywrap.errors import SpecError
from notifywrap.policy import httpoptions
from notifywrap.policy.probe import DiscoverProbe, Hint, HttpProbe, Tls
from notifywrap.policy.probespec import parse_probe


def resolve(host: str, port: int, option: str) -> tuple[tuple[str, int], ...]:
    return ((host, port),)


def asked(text: str = "http://h/", **options: list[str]) -> HttpProbe:
    """The probe of this text with options such as http_header=["K:V"]."""
    values = {"--" + name.replace("_", "-"): value for name, value in options.items()}
    (probe,) = with_http_options([parse_probe(text, "--probe", resolve)], values)
    assert isinstance(probe, HttpProbe)
    return probe


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("200", ((200, 200),)),
        ("200-399", ((200, 399),)),
        ("200, 204,300-399", ((200, 200), (204, 204), (300, 399))),
        ("100-599", ((100, 599),)),
    ],
)
def test_a_status_is_a_list_of_ranges(text, statuses):
    """401 from a login page is health, too, for who says so."""
    assert asked(http_status=[text]).statuses == statuses


def test_headers_are_kept_in_order_and_their_values_stripped():
    """What follows the first colon is the value, colons and all."""
    probe = asked(http_header=["Host: a.example:80", "X-A:b:c", "X-Empty:"])
    assert probe.headers == (("Host", "a.example:80"), ("X-A", "b:c"), ("X-Empty", ""))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"http_status": ["2xx"]}, "--http-status: '2xx' is no status (write 200-399"),
        ({"http_status": [""]}, "--http-status: "),
        ({"http_status": ["399-200"]}, "--http-status: '399-200' is not a range"),
        ({"http_status": ["600"]}, "--http-status: "),
        ({"http_status": ["٢٠٠"]}, "--http-status: "),
        ({"http_header": ["secret"]}, "--http-header: a header needs a name and a value (write"),
        ({"http_header": [":v"]}, "--http-header: a header needs a name"),
        ({"http_header": ["a b:c"]}, "--http-header: 'a b' is not a header's name"),
        ({"http_header": ["a:b\r\nc:d"]}, "--http-header: the value of a has a control"),
        ({"http_header": ["a:\0"]}, "--http-header: the value of a has a control"),
        ({"http_header": ["Host:a/b"]}, "--http-header: the value of Host is not a host name"),
        ({"http_header": ["content-length:0"]}, "--http-header: content-length cannot be set"),
        ({"http_header": ["Transfer-Encoding:chunked"]}, "--http-header: Transfer-Encoding can"),
        ({"http_header": ["Connection:keep-alive"]}, "--http-header: Connection cannot be set"),
        ({"http_header_credential": ["A:../x"]}, "--http-header-credential: '../x' is not"),
        ({"http_header_credential": ["A:x"]}, "--http-header-credential: there are no credential"),
        ({"http_body": ["("]}, "--http-body: '(' is not a regular expression: "),
        ({"http_body": [""]}, "--http-body: is empty"),
        ({"http_body": ["(" * 9999 + ")" * 9999]}, "--http-body: "),
        ({"tls_ca": ["x"]}, "--tls-ca: there is no https probe it could apply to"),
        ({"tls_key": ["x"]}, "--tls-key: needs --tls-cert, whose key it is"),
        ({"tls_insecure": ["yes"], "tls_ca": ["x"]}, "--tls-insecure: contradicts --tls-ca"),
        ({"tls_insecure": ["perhaps"]}, "--tls-insecure: 'perhaps' is neither yes nor no"),
        ({"tls_cert": [""]}, "--tls-cert: '' is no path of a file"),
    ],
)
def test_what_is_wrong_is_refused_with_the_option_and_the_fix(monkeypatch, options, words):
    """One line, at start. A header that was mistyped is not shown: it may be a password."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SpecError) as caught:
        asked(**options)
    assert str(caught.value).startswith(words)
    assert "secret" not in str(caught.value)


def test_an_option_without_a_probe_for_it_is_a_mistake():
    """Whoever writes it believes that something is checked."""
    tcp = parse_probe("tcp:80", "--probe", resolve)
    with pytest.raises(SpecError, match=r"^--http-body: there is no http probe it could apply to$"):
        with_http_options([tcp], {"--http-body": ["x"]})
    with pytest.raises(SpecError, match=r"^ready\[1\].body: there is no http probe"):
        with_http_options([tcp], {"--http-body": ["x"]}, {"--http-body": "ready[1].body"})
    http = parse_probe("http://h/", "--probe", resolve)
    assert with_http_options([tcp, http], {"--http-body": ["x"]})[0] == tcp


def test_what_a_preset_suggests_is_asked_with_the_options_too():
    """Zero-config with a header that a daemon needs: the preset's probe is an http probe."""
    http, tcp = (parse_probe(text, "--probe", resolve) for text in ("http://h/", "tcp:1"))
    found = DiscoverProbe(hints=(Hint(80, "", http, tcp),))
    (changed,) = with_http_options([found], {"--http-body": ["ok"]})
    assert isinstance(changed, DiscoverProbe)
    assert changed.hints == (Hint(80, "", http._replace(body="ok"), tcp),)  # type: ignore[union-attr]


def test_a_credential_is_read_without_its_last_newline(monkeypatch, tmp_path):
    """`echo token >file` ends in one; a header must not."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "token").write_text("Bearer abc\n")
    probe = asked(http_header_credential=["Authorization:token"])
    assert probe.headers == (("Authorization", "Bearer abc"),)
    with pytest.raises(SpecError, match="add LoadCredential=none:/path/to/it to the unit"):
        read_credential("none", "--http-header-credential")
    (tmp_path / "token").write_text("a\nb")
    with pytest.raises(SpecError, match=r"^--http-header-credential: the value of A has a con[^a]"):
        asked(http_header_credential=["A:token"])


@pytest.mark.parametrize(
    ("host", "tls"),
    [
        ("127.0.0.1", Tls(address="127.0.0.1", verify=False)),
        ("127.9.9.9", Tls(address="127.9.9.9", verify=False)),
        ("[::1]", Tls(address="::1", verify=False)),
        ("localhost", Tls(name="localhost", verify=False)),
        ("10.0.0.1", Tls(address="10.0.0.1")),
        ("[2001:db8::1]", Tls(address="2001:db8::1")),
        ("example.org", Tls(name="example.org")),
        ("example.org.", Tls(name="example.org")),
        ("127.0.0.1.example.org", Tls(name="127.0.0.1.example.org")),
        ("localhost.example.org", Tls(name="localhost.example.org")),
    ],
)
def test_https_verifies_everywhere_but_on_the_loopback(host, tls):
    """The kubelet's default where nobody has a certificate, and strict wherever somebody could be
    in between."""
    probe = asked(f"https://{host}/x")
    assert probe.tls == tls
    assert probe.addresses[0][1] == 443
    assert asked(f"https://{host}:8443/", tls_ca=["/ca"]).tls == tls._replace(verify=True, ca="/ca")
    assert asked(f"https://{host}/", tls_insecure=["yes"]).tls == tls._replace(verify=False)
    assert asked(f"https://{host}/", tls_insecure=["no"]).tls == tls._replace(verify=True)


def test_a_key_without_a_file_of_its_own_is_beside_the_certificate():
    """One PEM file with both is as common as two."""
    tls = asked("https://h/", tls_cert=["/both"]).tls
    assert (tls.cert, tls.key) == ("/both", "")
    tls = asked("https://h/", tls_cert=["/a"], tls_key=["/b"]).tls
    assert (tls.cert, tls.key) == ("/a", "/b")


any_text = st.text(max_size=40) | st.text("KV:0123456789-, \r\n\0é()[]*+?", max_size=20)


@given(st.sampled_from(httpoptions.HTTP_OPTIONS), any_text)
def test_any_text_is_understood_or_a_clear_no(name, text):
    """Whatever a unit file says: never an exception of another kind."""
    refusal = ""
    try:
        httpoptions.parse({name: [text]}, lambda name, _: name)
    except SpecError as error:
        refusal = str(error)
    assert refusal.startswith(f"{name}: ") or not refusal
