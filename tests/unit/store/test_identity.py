"""Tokens of ServiceAccounts, checked with the keys of a cluster that a real HTTP server publishes."""

import base64
import hmac
import time
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.unit.store.material import ISSUER, NAMESPACE, Keys

from flywheel.events.identity import ApiServerKeys, Identity, KeysUnavailable, NotAllowed, NotIdentified
from flywheel.kube.errors import ApiError

KEYS = Keys()


async def published(path: str) -> dict:
    return KEYS.documents()[path]


@pytest.mark.parametrize("key", ["first", "second"])
async def test_a_sidecar_is_known_by_its_token(key: str) -> None:
    assert await Identity(NAMESPACE, published).campaign(f"Bearer {KEYS.token(key=key)}") == "618"


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"exp": None}, "exp"),
        ({"aud": ["https://kubernetes.default.svc"]}, "udience"),
        ({"iss": "https://evil.example"}, "ssuer"),
        ({"nbf": int(time.time()) + 3600}, "not yet valid"),
        ({"sub": None}, "sub"),
    ],
)
async def test_claims_that_do_not_hold_are_not_believed(claims: dict, said: str) -> None:
    with pytest.raises(NotIdentified, match=said):
        await Identity(NAMESPACE, published).campaign(f"Bearer {KEYS.token(**claims)}")


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic abc", "Bearer", "Bearer x.y.z", "Bearer " + "a" * 20_000, "Bearer \udcff.a.b", "Bearer é"],
)
async def test_a_header_without_a_token_is_refused(header: str | None) -> None:
    with pytest.raises(NotIdentified):
        await Identity(NAMESPACE, published).campaign(header)


async def test_a_token_of_another_cluster_or_without_signature_is_refused() -> None:
    stranger = Keys().token()
    with pytest.raises(NotIdentified, match="ignature"):
        await Identity(NAMESPACE, published).campaign(f"Bearer {stranger}")
    head, body, _ = KEYS.token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"first"}').rstrip(b"=").decode()
    # The public key as a secret: libraries that let the token choose the algorithm believe that.
    pem = KEYS.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    shared = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').rstrip(b"=").decode()
    signed = hmac.digest(pem, f"{shared}.{body}".encode(), "sha256")
    symmetric = base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b"[" * 9000).decode()
    for forged in (f"{none}.{body}.", f"{head}.{body}.", f"{shared}.{body}.{symmetric}", f"{deep}.{body}.x"):
        with pytest.raises(NotIdentified):
            await Identity(NAMESPACE, published).campaign(f"Bearer {forged}")


@pytest.mark.parametrize(
    "fields",
    [
        {"account": "shopper"},
        {"account": "-edge"},
        {"account": "../../etc-edge"},
        {"account": 'a","part":1,"campaign":"b-edge'},
        {"namespace": "summer"},
        {"sub": "system:node:worker-1"},
        {"sub": "system:serviceaccount:spring"},
        {"sub": "evil:system:serviceaccount:spring:618-edge"},
    ],
)
async def test_others_of_the_cluster_are_known_and_not_let_in(fields: dict) -> None:
    with pytest.raises(NotAllowed):
        await Identity(NAMESPACE, published).campaign(f"Bearer {KEYS.token(**fields)}")


async def test_keys_are_read_anew_for_an_unknown_one_and_not_more_often_than_that() -> None:
    asked = []
    current = Keys()

    async def fetch(path: str) -> dict:
        asked.append(path)
        documents = current.documents()
        for key in documents["/openid/v1/jwks"]["keys"]:
            key["kid"] = f"{key['kid']}-new" if len(asked) > 2 else key["kid"]
        return documents[path]

    identity = Identity(NAMESPACE, fetch, refresh_interval=0)
    assert await identity.campaign(f"Bearer {current.token()}") == "618"
    with pytest.raises(NotIdentified):
        await identity.campaign(f"Bearer {current.token(key='unknown')}")
    assert len(asked) == 4
    slow = Identity(NAMESPACE, fetch, refresh_interval=3600)
    for _ in range(5):
        with pytest.raises(NotIdentified):
            await slow.campaign(f"Bearer {current.token(key='unknown')}")
    assert len(asked) == 6


async def test_nobody_is_identified_while_the_keys_cannot_be_read() -> None:
    async def fetch(_path: str) -> dict:
        raise ApiError(0, "Unreachable", "no route to host")

    with pytest.raises(KeysUnavailable, match="no route"):
        await Identity(NAMESPACE, fetch).campaign(f"Bearer {KEYS.token()}")


async def test_keys_come_from_the_api_server_with_the_own_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        return web.json_response(KEYS.documents()[request.path])

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "c", "user": {"token": "mine"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    keys = ApiServerKeys()
    try:
        assert await Identity(NAMESPACE, keys).campaign(f"Bearer {KEYS.token()}") == "618"
    finally:
        await keys.close()
        await runner.cleanup()
    assert seen == [("/.well-known/openid-configuration", "Bearer mine"), ("/openid/v1/jwks", "Bearer mine")]
    assert ISSUER


async def test_only_the_operator_that_the_worker_was_told_of_may_ask() -> None:
    token = KEYS.token("flywheel", namespace="flywheel-system", aud=[f"flywheel-analytics/{NAMESPACE}"])
    known = Identity(NAMESPACE, published, operator="flywheel-system:flywheel")
    await known.check_operator(f"Bearer {token}")
    for other in ("", "flywheel-system:other", "flywheel:flywheel-system", "flywheel"):
        with pytest.raises(NotAllowed):
            await Identity(NAMESPACE, published, operator=other).check_operator(f"Bearer {token}")
    with pytest.raises(NotIdentified, match="udience"):
        await Identity("summer", published, operator="flywheel-system:flywheel").check_operator(f"Bearer {token}")
    with pytest.raises(NotIdentified, match="udience"):
        await known.campaign(f"Bearer {token}")
