"""Rows, tokens and a worker in a process of its own, for the tests of the store."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.patience import PATIENCE
from tests.ports import free_ports

from flywheel.events.commit import Delivery
from flywheel.events.rows import DeadLetter, EventRow, RequestRow, Row

NOON = 1_700_000_000_000
NEVER = 4_000_000_000
NAMESPACE = "spring"
ISSUER = "https://kubernetes.default.svc"
ROOT = Path(__file__).parents[3]


def event(number: int, **fields: Any) -> EventRow:
    """An event; equal numbers are the same event."""
    moment = NOON + number
    given = {
        "message_id": f"m{number}",
        "type": "track",
        "event": "Order Completed",
        "time": moment,
        "original_time": moment,
        "ingest_time": moment + 50,
        "visitor": f"v{number % 100}",
        "order_id": f"o{number}",
        "revenue": 9.5,
        "properties": '{"sku": "a-1", "name": "优惠\\n券"}',
        "expires_at": NEVER,
    }
    return EventRow(**given | fields)


def request(number: int, **fields: Any) -> RequestRow:
    """A request; equal numbers are the same request."""
    given = {
        "request_id": f"r{number}",
        "time": NOON + number,
        "ingest_time": NOON + number + 5,
        "status": 200,
        "duration_ms": 12.5,
        "server_ms": 11.0,
        "visitor": f"v{number % 100}",
        "expires_at": NEVER,
    }
    return RequestRow(**given | fields)


def dead_letter(number: int, **fields: Any) -> DeadLetter:
    given = {"time": NOON + number, "reason": "too_large", "payload": f"p{number}", "expires_at": NEVER}
    return DeadLetter(**given | fields)


def lines(rows: list[Row] | list[EventRow] | list[RequestRow] | list[DeadLetter]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def delivery(campaign: str, rows: Any) -> Delivery:
    body = rows if isinstance(rows, bytes) else lines(list(rows))
    return Delivery(campaign, body, body.count(b"\n"))


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait for an async condition to become true, and give its value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := await condition():
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE:g} s: {what}")


class Keys:
    """Keys of a cluster: signs tokens, and publishes what checks them."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.elliptic = ec.generate_private_key(ec.SECP256R1())

    def documents(self) -> dict[str, dict[str, Any]]:
        """What the API server answers."""
        first = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key()))
        second = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.elliptic.public_key()))
        return {
            "/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/openid/v1/jwks"},
            "/openid/v1/jwks": {"keys": [{**first, "kid": "first"}, {**second, "kid": "second"}]},
        }

    def token(self, account: str = "618-edge", *, key: str = "first", namespace: str = NAMESPACE, **claims: Any) -> str:
        """A token of a ServiceAccount."""
        payload = {
            "iss": ISSUER,
            "aud": ["flywheel-analytics"],
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "exp": int(time.time()) + 86_400,
            "iat": int(time.time()),
        } | claims
        private, algorithm = (self.elliptic, "ES256") if key == "second" else (self.rsa, "RS256")
        return jwt.encode({k: v for k, v in payload.items() if v is not None}, private, algorithm, {"kid": key})


@dataclass
class WorkerProcess:
    """A worker as it runs in a pod; only the cluster's keys come from a file."""

    directory: Path
    keys: Keys
    options: tuple[str, ...] = ()
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    process: "subprocess.Popen[str] | None" = None
    lock_seconds: str = "15"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def start(self) -> None:
        keys = self.directory.parent / f"{self.directory.name}.keys.json"
        keys.write_text(json.dumps(self.keys.documents()))
        log = (self.directory.parent / f"{self.directory.name}.log").open("a")
        command = [sys.executable, "-m", "tests.unit.store.worker_process", str(self.directory), str(keys)]
        self.process = subprocess.Popen(
            self.command([*command, *map(str, self.ports), *self.options]),
            stdout=log,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "LOCK_SECONDS": self.lock_seconds},
        )
        log.close()

    def command(self, command: list[str]) -> list[str]:
        return command

    @property
    def log(self) -> str:
        return (self.directory.parent / f"{self.directory.name}.log").read_text()

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def engine_pid(self) -> int | None:
        """The engine's process, by its parent."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    async def ready(self, client: httpx.AsyncClient) -> None:
        async def answers() -> bool:
            assert self.process
            if self.process.poll() is not None:
                raise AssertionError(f"the worker ended:\n{self.log[-3000:]}")
            with contextlib.suppress(httpx.HTTPError):
                return (await client.get(f"{self.url}/readyz")).status_code == 200
            return False

        await eventually(answers, "the worker is ready")


@contextlib.contextmanager
def running(directory: Path, keys: Keys, *options: str) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(directory, keys, options)
    worker.start()
    try:
        yield worker
    finally:
        if worker.process and worker.process.poll() is None:
            worker.kill()


@contextlib.asynccontextmanager
async def client_of(keys: Keys, account: str = "618-edge") -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {keys.token(account)}"}
    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as client:
        yield client
