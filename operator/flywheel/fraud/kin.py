"""How a worker comes by the secret that all workers of its namespace share: made by the first, asked for by the others.

Windows are found by hashes under it, so that keys can move from one worker to another; and a pass that one of them has
signed holds, whichever key HAProxy was told of by which worker.
"""

import asyncio
import logging
from pathlib import Path

from flywheel.fraud import pass_key
from flywheel.fraud.peers import Peers, Unanswered

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two questions."""


async def shared_key(path: Path, number: int, of: int, peers: Peers) -> pass_key.Key:
    """Give the key that is on the volume, or else that of the other workers, which is there from now on.

    The first worker makes one where no other has any: one that has lost its volume gets the old one back. The others
    wait for the first.

    Args:
        path: Where it is kept.
        number: The worker's shard.
        of: How many workers there are.
        peers: The others.

    Raises:
        OSError: The file can neither be read nor written.
        ValueError: What stands in it is no key.
    """
    found = await asyncio.to_thread(pass_key.load, path)
    if found is None:
        found = await (_of_first(peers) if number else _of_anyone(of, peers)) or pass_key.new_key()
        await asyncio.to_thread(pass_key.keep, path, found)
    return found


async def _of_first(peers: Peers) -> pass_key.Key:
    said = ""
    while True:
        try:
            return await peers.key(0)
        except Unanswered as error:
            if str(error) != said:
                said = str(error)
                log.warning("The worker waits for the secret that it shares with the others: %s", said)
        await asyncio.sleep(PAUSE)


async def _of_anyone(of: int, peers: Peers) -> pass_key.Key | None:
    for each in range(1, of):
        try:
            return await peers.key(each)
        except Unanswered as error:
            log.info("The worker %d has no secret for the first one: %s", each, error)
    return None
