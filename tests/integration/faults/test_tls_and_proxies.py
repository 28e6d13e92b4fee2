"""TLS where none is spoken, certificates that nobody signed, and proxies."""

from __future__ import annotations

import os
import ssl
import subprocess
from base64 import b64encode
from pathlib import Path
from shutil import which

import httpx
import openai
import pytest

from reward_client import (
    AuthenticationError,
    BadRequestError,
    Connection,
    InputError,
    RetryPolicy,
    RewardClient,
    ServerUnreachableError,
    StatusError,
)
from reward_client._transport.proxies import is_loopback

from ...support.raw_server import (
    CONVERSATION,
    LOOPBACK,
    Exchange,
    RawServer,
    answer,
    expected,
    http,
    sending,
)

FAR = "http://reward.example"
FAR_TLS = "https://reward.example"
PASSWORD = "proxy-password"
CREDENTIALS = f"Basic {b64encode(f'user:{PASSWORD}'.encode()).decode()}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for the loopback address, and its key, in one file."""
    openssl = which("openssl")
    if openssl is None:
        pytest.skip("makes a certificate with openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=loopback", "-addext", f"subjectAltName=IP:{LOOPBACK}"]
    files = ["-keyout", os.fspath(key), "-out", os.fspath(cert)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    both.write_text(key.read_text() + cert.read_text())
    return both


@pytest.fixture
def tls_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with RawServer(answer, context) as running:
        yield running


def test_tls_with_the_right_authority(tls_server, connect, certificate):
    client = connect(tls_server.url, connection=Connection(verify=os.fspath(certificate)))

    assert client.score(CONVERSATION).value == expected()


def test_tls_unchecked(tls_server, connect):
    client = connect(tls_server.url, connection=Connection(verify=False))

    assert client.score(CONVERSATION).value == expected()


def test_certificate_of_nobody(tls_server, connect, sleeps):
    with pytest.raises(ServerUnreachableError, match=r"Connection\(verify") as caught:
        connect(tls_server.url).score(CONVERSATION)

    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert not tls_server.requests
    assert not sleeps


def test_certificate_of_the_environment(tls_server, connect, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(certificate))

    assert connect(tls_server.url).score(CONVERSATION).value == expected()
    with pytest.raises(ServerUnreachableError):
        connect(tls_server.url, connection=Connection(trust_env=False)).score(CONVERSATION)


def test_tls_to_a_plain_port(server, connect, sleeps):
    with pytest.raises(ServerUnreachableError, match="https:// against http://"):
        connect(server.url.replace("http:", "https:")).score(CONVERSATION)

    assert not sleeps


def test_69_plain_http_to_a_tls_port(tls_server, connect, sleeps):
    with pytest.raises(ServerUnreachableError, match="Give base_url with https://"):
        connect(tls_server.url.replace("https:", "http:")).score(CONVERSATION)

    assert not sleeps


CARRIERS = ["own", "httpx", "openai"]


def carried(carrier: str, url: str) -> RewardClient:
    if carrier == "openai":
        return RewardClient.from_openai(openai.OpenAI(base_url=f"{url}/v1", api_key="key"))
    if carrier == "httpx":
        return RewardClient(url, transport=httpx.AsyncHTTPTransport())
    return RewardClient(url)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_69_plain_http_to_a_tls_port_by_any_carrier(tls_server, carrier, sleeps):
    url = tls_server.url.replace("https:", "http:")
    with (
        carried(carrier, url) as client,
        pytest.raises(ServerUnreachableError, match="Give base_url with https://"),
    ):
        client.score(CONVERSATION)

    assert not sleeps


@pytest.mark.parametrize("carrier", CARRIERS)
def test_69_tls_to_a_plain_port_by_any_carrier(server, carrier, sleeps):
    url = server.url.replace("http:", "https:")
    with (
        carried(carrier, url) as client,
        pytest.raises(ServerUnreachableError, match="https:// against http://"),
    ):
        client.score(CONVERSATION)

    assert not sleeps


@pytest.mark.parametrize("version", [b"\x01", b"\x03"])
def test_69_an_alert_of_tls(server, connect, version, sleeps):
    server.plan("/v1/models", *[sending(b"\x15\x03" + version + b"\x00\x02\x02\x28")] * 3)

    with pytest.raises(ServerUnreachableError, match="Give base_url with https://"):
        connect(server.url).score(CONVERSATION)

    assert not sleeps


@pytest.mark.parametrize(
    "said",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    ],
)
def test_69_a_tls_port_that_answers_plain_http(server, connect, said):
    server.plan("/v1/models", *[sending(http(said, 400, {"content-type": "text/html"}))] * 3)

    with pytest.raises(BadRequestError, match="Give base_url with https://"):
        connect(server.url).score(CONVERSATION)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("host", [LOOPBACK, "localhost", "LOCALHOST", "0.0.0.0"])
def test_68_no_proxy_reaches_this_machine(server, connect, monkeypatch, name, host):
    monkeypatch.setenv(name, f"http://{LOOPBACK}:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    client = connect(f"http://{host}:{server.port}")

    assert client.score(CONVERSATION).value == expected()


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::1%lo", True),
        ("localhost.", True),
        ("127.255.0.9", True),
        ("reward.localhost", True),
        ("127.1", True),
        ("2130706433", True),
        ("0x7f.0.0.1", True),
        ("10.1", False),
        ("", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1", False),
        ("fe80::1", False),
        ("reward", False),
    ],
)
def test_68_names_of_this_machine(host, is_local):
    assert is_loopback(host) == is_local


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("status", [403, 404, 502, 407, 400])
def test_68_an_error_names_the_proxy_without_its_password(
    server, connect, monkeypatch, name, status
):
    monkeypatch.setenv(name, proxy_with(server, password=True))
    server.plan("/v1/models", *[sending(http(b"<html>no</html>", status))] * 9)

    with pytest.raises(StatusError) as caught:
        connect(FAR).score(CONVERSATION)

    assert f"through the proxy http://{LOOPBACK}:{server.port} of the environment" in str(
        caught.value
    )
    assert "NO_PROXY" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("host", ["127.1", "2130706433"])
def test_68_an_address_in_another_spelling(server, connect, monkeypatch, host):
    """Newer versions of aiohttp refuse it."""
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:{server.port}")
    with pytest.raises((InputError, ServerUnreachableError)):
        connect(f"http://{host}:1").score(CONVERSATION)
    assert not server.requests


def test_68_an_unreachable_proxy_is_named(connect, monkeypatch):
    with RawServer(answer) as gone:
        monkeypatch.setenv("http_proxy", proxy_with(gone, password=True))

    with pytest.raises(ServerUnreachableError, match="through the proxy http://127") as caught:
        connect(FAR).score(CONVERSATION)

    assert PASSWORD not in str(caught.value)


def test_68_the_doctor_names_the_proxy(server, connect):
    found = connect(FAR, connection=Connection(proxy=proxy_with(server, password=True))).diagnose()

    reach = next(finding for finding in found.findings if finding.check == "reach")
    assert (
        f"through the proxy http://{LOOPBACK}:{server.port} of Connection(proxy=…)" in reach.detail
    )
    assert PASSWORD not in str(found)


@pytest.mark.parametrize("option", ["verify", "cert"])
def test_certificate_file_that_is_none(connect, tmp_path, option):
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for path in (broken, tmp_path / "missing.pem"):
        client = connect(FAR_TLS, connection=Connection(**{option: os.fspath(path)}))
        with pytest.raises(InputError, match=r"Connection\(verify"):
            client.score(CONVERSATION)


def proxy_with(server: RawServer, *, password: bool = False) -> str:
    user = f"user:{PASSWORD}@" if password else ""
    return f"http://{user}{LOOPBACK}:{server.port}"


def test_proxy(server, connect):
    connection = Connection(proxy=proxy_with(server, password=True))

    assert connect(FAR, connection=connection).score(CONVERSATION).value == expected()

    assert all(request.target.startswith(FAR) for request in server.requests)
    assert {r.headers["proxy-authorization"] for r in server.requests} == {CREDENTIALS}


@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "all_proxy"])
def test_proxy_of_the_environment(server, connect, monkeypatch, name, scheme):
    monkeypatch.setenv(name, f"{scheme}{LOOPBACK}:{server.port}")

    assert connect(FAR).score(CONVERSATION).value == expected()
    assert all(request.target.startswith(FAR) for request in server.requests)


@pytest.mark.parametrize("exception", [LOOPBACK, "*"])
def test_exceptions_of_the_environment(server, connect, monkeypatch, exception):
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOOPBACK}:1")
    monkeypatch.setenv("NO_PROXY", exception)

    assert connect(server.url).score(CONVERSATION).value == expected()


def test_an_untrusted_environment(server, connect, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOOPBACK}:1")
    client = connect(server.url, connection=Connection(trust_env=False))

    assert client.score(CONVERSATION).value == expected()


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1", "http://host:port"])
def test_a_kind_of_proxy_that_is_not_supported(connect, monkeypatch, url):
    monkeypatch.setenv("ALL_PROXY", url)

    with pytest.raises(InputError, match="trust_env=False"):
        connect(FAR).score(CONVERSATION)


@pytest.mark.parametrize("url", [FAR, FAR_TLS])
def test_proxy_that_refuses_connections(connect, url):
    with RawServer(answer) as gone:
        connection = Connection(proxy=proxy_with(gone, password=True))

    with pytest.raises(ServerUnreachableError, match=r"Connection\(proxy") as caught:
        connect(url, connection=connection).score(CONVERSATION)

    assert caught.value.attempts == ("proxy failure",) * 2
    assert PASSWORD not in str(caught.value)


def test_tunnel_refused_for_good(server, connect, sleeps):
    connection = Connection(proxy=proxy_with(server, password=True))

    async def refuse(exchange: Exchange) -> None:
        await exchange.send(http(b"", 407))
        exchange.close()

    server.answer = lambda _: refuse

    with pytest.raises(ServerUnreachableError, match="user and password") as caught:
        connect(FAR_TLS, connection=connection).score(CONVERSATION)

    assert [request.method for request in server.requests] == ["CONNECT"]
    assert server.requests[0].headers["proxy-authorization"] == CREDENTIALS
    assert PASSWORD not in str(caught.value)
    assert not sleeps


def test_tunnel_refused_for_a_moment(server, connect):
    async def refuse(exchange: Exchange) -> None:
        await exchange.send(http(b"", 503))
        exchange.close()

    server.answer = lambda _: refuse
    client = connect(FAR_TLS, connection=Connection(proxy=proxy_with(server)))

    with pytest.raises(ServerUnreachableError, match=r"Connection\(proxy") as caught:
        client.score(CONVERSATION)

    assert caught.value.attempts == ("proxy failure",) * 2


def test_proxy_that_wants_a_password(server, connect):
    server.plan("/v1/models", sending(http(b"", 407)))

    with pytest.raises(StatusError, match=r"Connection\(proxy") as caught:
        connect(FAR, connection=Connection(proxy=proxy_with(server))).score(CONVERSATION)

    assert caught.value.status == 407
    assert not isinstance(caught.value, AuthenticationError)


def test_netrc_is_not_sent(server, connect, monkeypatch, tmp_path):
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine {LOOPBACK} login me password {PASSWORD}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", os.fspath(netrc))
    monkeypatch.setenv("HOME", os.fspath(tmp_path))

    connect(server.url).score(CONVERSATION)

    assert not any("authorization" in request.headers for request in server.requests)


def test_cookies_are_not_kept(server, connect):
    cookie = {"set-cookie": "session=1"}
    server.plan("/version", sending(http(b'{"version": "0.32.0"}', 200, cookie)))

    connect(server.url, retry=RetryPolicy(attempts=1)).score(CONVERSATION)

    assert not any("cookie" in request.headers for request in server.requests)
