"""HAProxy's sockets: orders to the running process, and reloads through its master.

Each order is a connection of its own; HAProxy closes it after the answer. It says nothing where an order succeeded
and a sentence where it did not.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

TIMEOUT = 5.0
LONGEST_ANSWER = 64 << 20
LONGEST_ORDER = 8000
"""Bytes of one line; HAProxy takes as much as one of its buffers holds."""
MANY = 200
"""Changed entries from which on a map is replaced as a whole, in one step, rather than entry by entry."""
RELOAD_TIMEOUT = 30.0
_SINCE_START = 0x04
"""Flag of a server that the file had disabled; it stays, and says nothing of now."""
_CAN_BE_CHECKED, _CHECKED = 0x02, 0x04
"""Flags of a server that has checks, and of one whose checks are on: else what fails is not heeded either."""
_WORD = re.compile(r"[A-Za-z0-9._:|/%*+@=-]+")
_PROCESS = re.compile(r"^(\d+)\s+(master|worker)\s+(\d+)(?:\s+\[failed: (\d+)\])?", re.MULTILINE)


class RuntimeApiError(Exception):
    """HAProxy could not be reached, or refused an order. The text says which and why."""

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class ReloadRefused(RuntimeApiError):  # noqa: N818 - a fact about the configuration
    """The master tried a configuration and stays with the one it has."""


@dataclass(frozen=True)
class Process:
    """What a running HAProxy says of itself."""

    pid: int
    description: str
    uptime: int
    """Seconds."""


@dataclass(frozen=True)
class LiveServer:
    """One server as HAProxy has it."""

    address: str
    port: int
    weight: int
    enabled: bool
    watched: bool | None = None
    """Whether a connection that fails takes it out, until it listens again; None where it cannot be watched."""
    up: bool = True
    """False where that has happened, and while it is in maintenance."""


@dataclass(frozen=True)
class _Generations:
    reloads: int
    failed: int
    worker: int


async def ask(path: str, order: str, limit: float = TIMEOUT) -> str:
    """Give one order to a socket and wait for the whole answer.

    Raises:
        RuntimeApiError: There is no HAProxy at the socket, or it does not answer in time.
    """
    try:
        async with asyncio.timeout(limit):
            return await _ask(path, order)
    except TimeoutError:
        raise RuntimeApiError(
            f"HAProxy at {path} has not answered {order[:40]!r} for {limit:g} s", unreachable=True
        ) from None
    except OSError as error:
        raise RuntimeApiError(f"HAProxy at {path} cannot be reached: {error}", unreachable=True) from error


async def _ask(path: str, order: str) -> str:
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
    try:
        writer.write(order.encode() + b"\n")
        await writer.drain()
        parts: list[bytes] = []
        size = 0
        while part := await reader.read(1 << 16):
            parts.append(part)
            size += len(part)
            if size > LONGEST_ANSWER:
                raise RuntimeApiError(f"HAProxy's answer to {order[:40]!r} has more than {LONGEST_ANSWER} bytes")
        return b"".join(parts).decode(errors="replace")
    finally:
        writer.close()


def _checked(words: Iterable[str]) -> None:
    for word in words:
        if not _WORD.fullmatch(word):
            # Whoever renders maps has seen to this; a word with a semicolon would be an order of its own.
            raise RuntimeApiError(f"{word!r} cannot stand in an order to HAProxy")


class RuntimeApi:
    """Orders to the worker that runs now."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def _do(self, orders: Sequence[str]) -> None:
        """Give orders that say nothing when they succeed, as many on a line as fit."""
        line: list[str] = []
        length = 0
        for order in orders:
            if line and length + len(order) > LONGEST_ORDER:
                await self._expect_silence(";".join(line))
                line, length = [], 0
            line.append(order)
            length += len(order) + 1
        if line:
            await self._expect_silence(";".join(line))

    async def _expect_silence(self, order: str, *accepted: str) -> None:
        answer = (await ask(self._path, order)).strip()
        if answer and not any(words in answer for words in accepted):
            raise RuntimeApiError(f"HAProxy refuses an order ({order[:120]}): {answer[:300]}")

    async def process(self) -> Process:
        """Ask the running process who it is."""
        text = await ask(self._path, "show info")
        found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        try:
            return Process(
                pid=int(found["Pid"]),
                description=found.get("description", "").strip(),
                uptime=int(found["Uptime_sec"]),
            )
        except (KeyError, ValueError) as error:
            raise RuntimeApiError(f"HAProxy's show info cannot be understood: {text[:200]!r}") from error

    async def map(self, path: str) -> dict[str, str]:
        """Read the entries of a map."""
        text = await ask(self._path, f"show map {path}")
        if text.startswith("Unknown map"):
            raise RuntimeApiError(f"HAProxy has no map {path}")
        lines = (line.split(" ", 2) for line in text.splitlines() if line.startswith("0x"))
        return {line[1]: line[2] for line in lines if len(line) == 3}

    async def change_map(self, path: str, before: Mapping[str, str], after: Mapping[str, str]) -> int:
        """Bring a map from one content to another; give how many entries that changed."""
        gone = [key for key in before if key not in after]
        new = {key: value for key, value in after.items() if key not in before}
        other = {key: value for key, value in after.items() if key in before and before[key] != value}
        count = len(gone) + len(new) + len(other)
        if count >= MANY:
            await self.replace_map(path, after)
            return count
        await self.patch_map(path, new, other, gone)
        return count

    async def patch_map(self, path: str, new: Mapping[str, str], other: Mapping[str, str], gone: Iterable[str]) -> None:
        """Change some entries of a map: those that are new, have another value, or go."""
        gone = tuple(gone)
        _checked([path, *gone, *new, *new.values(), *other, *other.values()])
        orders = [f"add map {path} {key} {value}" for key, value in new.items()]
        orders += [f"set map {path} {key} {value}" for key, value in other.items()]
        orders += [f"del map {path} {key}" for key in gone]
        await self._do(orders)

    async def replace_map(self, path: str, after: Mapping[str, str]) -> None:
        """Replace the content of a map in one step."""
        _checked([path, *after, *after.values()])
        answer = await ask(self._path, f"prepare map {path}")
        found = re.search(r"New version created: (\d+)", answer)
        if found is None:
            raise RuntimeApiError(f"HAProxy prepares no new version of {path}: {answer.strip()[:300]}")
        version = found[1]
        lines: list[str] = []
        length = 0
        for key, value in after.items():
            lines.append(f"{key} {value}")
            length += len(lines[-1]) + 1
            if length > LONGEST_ORDER:
                await self._add(path, version, lines)
                lines, length = [], 0
        if lines:
            await self._add(path, version, lines)
        await self._expect_silence(f"commit map @{version} {path}")

    async def _add(self, path: str, version: str, lines: Sequence[str]) -> None:
        body = "\n".join(lines)
        await self._expect_silence(f"add map @{version} {path} <<\n{body}\n")

    async def servers(self) -> dict[str, dict[str, LiveServer]]:
        """Read address, weight and state of all servers, by backend and name."""
        text = await ask(self._path, "show servers state")
        found: dict[str, dict[str, LiveServer]] = {}
        for line in text.splitlines()[1:]:
            fields = line.split(" ")
            if len(fields) < 19 or line.startswith("#"):
                continue
            found.setdefault(fields[1], {})[fields[3]] = LiveServer(
                fields[4],
                int(fields[18]),
                int(fields[7]),
                enabled=int(fields[6]) & ~_SINCE_START == 0,
                watched=bool(int(fields[13]) & _CHECKED) if int(fields[13]) & _CAN_BE_CHECKED else None,
                up=fields[5] != "0",
            )
        return found

    async def set_server(self, backend: str, name: str, wanted: LiveServer, found: LiveServer | None) -> None:
        """Bring a server to what it shall be; what it has begun goes on."""
        server = f"{backend}/{name}"
        _checked([server, wanted.address])
        if not wanted.enabled:
            await self._expect_silence(f"set server {server} state maint")
            return
        if found is None or (found.address, found.port) != (wanted.address, wanted.port):
            order = f"set server {server} addr {wanted.address} port {wanted.port}"
            await self._expect_silence(order, "changed from", "no need to change", "nothing changed")
        comes = found is None or not found.enabled
        watchable = found is not None and found.watched is not None
        orders = [f"set server {server} weight {wanted.weight}"]
        if watchable and (comes or wanted.watched):
            # Maintenance halts checks, and only one whose checks are on has them go on after it.
            orders.append(f"enable health {server}")
        if comes:
            orders.append(f"set server {server} state ready")
        if watchable and not wanted.watched:
            # Who was taken out would stay out: nobody looks any more whether it listens.
            orders += [f"disable health {server}", f"set server {server} health up"]
        await self._do(orders)

    async def set_certificate(self, path: str, pem: str) -> None:
        """Replace a certificate and its key for new connections."""
        body = "\n".join(line for line in pem.splitlines() if line.strip())
        answer = await ask(self._path, f"set ssl cert {path} <<\n{body}\n")
        if "Transaction" not in answer:
            raise RuntimeApiError(f"HAProxy refuses the certificate: {answer.strip()[:300]}")
        answer = await ask(self._path, f"commit ssl cert {path}")
        if "Success" not in answer:
            await ask(self._path, f"abort ssl cert {path}")
            raise RuntimeApiError(f"HAProxy does not take the certificate: {answer.strip()[:300]}")


class Master:
    """HAProxy's master process, which starts new workers and lets old ones end."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def reload(self, limit: float = RELOAD_TIMEOUT) -> None:
        """Start a worker with the configuration on disk, and wait until it serves.

        Raises:
            ReloadRefused: The configuration cannot be loaded; the old worker goes on.
            RuntimeApiError: There is no master.
        """
        before = await self._generations()
        await self._send_reload()
        try:
            async with asyncio.timeout(limit):
                while True:
                    await asyncio.sleep(0.02)
                    try:
                        now = await self._generations()
                    except RuntimeApiError:
                        # The master replaces itself by a new one; for a moment nobody listens.
                        continue
                    if now.failed > before.failed:
                        raise ReloadRefused("HAProxy cannot load the configuration; its log says why")
                    if now.reloads > before.reloads and now.worker not in (0, before.worker):
                        return
        except TimeoutError:
            raise RuntimeApiError(f"HAProxy has not reloaded within {limit:g} s", unreachable=True) from None

    async def _send_reload(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                _, writer = await asyncio.open_unix_connection(self._path)
                writer.write(b"reload\n")
                await writer.drain()
                # Not waited for: HAProxy 2.6 says nothing and may leave the connection open for ever.
                await asyncio.sleep(0.01)
                writer.close()
        except (OSError, TimeoutError) as error:
            raise RuntimeApiError(f"HAProxy's master cannot be reached: {error}", unreachable=True) from error

    async def _generations(self) -> _Generations:
        # HAProxy 2.6 keeps this connection open unless it is asked to quit.
        text = await ask(self._path, "show proc;quit", 2.0)
        current, _, _ = text.partition("# old workers")
        reloads = failed = worker = 0
        for pid, kind, count, failures in _PROCESS.findall(current):
            if kind == "master":
                reloads, failed = int(count), int(failures or 0)
            else:
                worker = int(pid)
        return _Generations(reloads, failed, worker)
