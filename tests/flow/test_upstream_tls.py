"""The upstream over TLS: a pinned certificate is trusted and no other; nothing leaves in the clear."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from appliance.domain.errors import ConfigError, TransportError
from appliance.runtime.config_load import load_config
from appliance.upstream.address import address_problem
from appliance.upstream.exchange import Exchange
from tests.audit_support import run
from tests.box import Box

PIN = "0" * 64


def _certificate(place: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server's context with a new certificate of its own, and its pin."""
    cert, key = place / f"{name}.pem", place / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-subj", f"/CN={name}", "-days", "2", "-out", str(cert), "-keyout", str(key)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("NOT SHOWN HERE: a certificate is made with openssl (Debian: openssl)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    der = ssl.PEM_cert_to_DER_cert(cert.read_text())
    return context, hashlib.sha256(der).hexdigest()


def test_the_pinned_certificate_is_trusted_and_no_other(tmp_path: Path) -> None:
    """Neither another one nor, without a pin, one that no authority signed; nothing was sent to either."""
    context, pin = _certificate(tmp_path, "ours")
    _, other = _certificate(tmp_path, "another")
    bodies: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(body=b"signed")

    async def work() -> None:
        application = web.Application()
        application.router.add_post("/add-checkpoint", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            url = "https://{}:{}".format(*runner.addresses[0][:2])
            async with Exchange(url, pin=pin) as exchange:
                assert (await exchange.add_checkpoint(b"trusted")).body == b"signed"
            for wrong in (other, ""):
                async with Exchange(url, pin=wrong) as exchange:
                    with pytest.raises(TransportError):
                        await exchange.add_checkpoint(b"not trusted")
        finally:
            await runner.cleanup()

    run(work())
    assert bodies == [b"trusted"]


@pytest.mark.parametrize(
    ("url", "pin", "good"),
    [
        ("http://127.0.0.1:8482", "", True),
        ("http://[::1]:8482/log", "", True),
        ("http://localhost:8482", "", True),
        ("https://upstream.example", "", True),
        ("https://upstream.example", PIN, True),
        ("http://upstream.example", "", False),
        ("http://192.0.2.1", "", False),
        ("http://localhost.example", "", False),
        ("http://127.0.0.1:8482", PIN, False),
        ("https://upstream.example", PIN[1:], False),
        ("https://upstream.example", "A" * 64, False),
        ("ftp://127.0.0.1", "", False),
        ("https://", "", False),
        ("127.0.0.1:8482", "", False),
        ("", "", False),
    ],
)
def test_what_may_be_an_upstream(url: str, pin: str, good: bool) -> None:
    """Unencrypted on this machine alone; a pin belongs to https and is a whole SHA-256."""
    assert (address_problem(url, pin) == "") is good
    if good:
        Exchange(url, pin=pin)
    else:
        with pytest.raises(ConfigError, match="cannot be used"):
            Exchange(url, pin=pin)


def test_a_configuration_that_would_send_in_the_clear_is_refused(tmp_path: Path) -> None:
    """By file and key, before anything starts."""
    box = Box(tmp_path)
    text = box.config.read_text()
    for old, new, why in (
        ('pin = ""', 'pin = "abc"', "A pin is 64 hexadecimal digits"),
        ("127.0.0.1:", "192.0.2.1:", "leaves this machine unencrypted"),
    ):
        upstream = text.index("[upstream]")
        box.config.write_text(text[:upstream] + text[upstream:].replace(old, new, 1))
        with pytest.raises(ConfigError, match=why):
            load_config(box.config)
