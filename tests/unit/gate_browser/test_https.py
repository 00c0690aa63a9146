"""An address with TLS: the proxy cannot look into it, and certificates are checked outside of a cluster."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.gate_browser.looking import plan

from flywheel.release.gate.browser.runner import visit

STEPS = "[{open: /}, {expectText: asked by r2}]"


def self_signed(directory: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "618.shop.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("618.shop.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return context


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        told = f"<p>asked by {request.headers.get('X-FW-Preview')}"
        return web.Response(text=told, content_type="text/html")

    application = web.Application()
    application.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self_signed(tmp_path)).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_inside_a_cluster_the_certificate_is_that_of_another_name(address: str) -> None:
    made = plan(address, STEPS, {"X-FW-Preview": "r2"}, stepTimeout="1m")
    visited = await visit(msgspec.structs.replace(made, trust_any_certificate=True))
    assert visited.result.outcome == "Success", visited.result


async def test_elsewhere_a_certificate_that_is_not_trusted_is_an_error_of_the_gate(address: str) -> None:
    visited = await visit(plan(address, STEPS, {"X-FW-Preview": "r2"}, stepTimeout="1m"))
    assert visited.result.outcome == "Error"
    assert "ERR_CERT_" in visited.result.message
