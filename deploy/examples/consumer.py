"""Follow Scrinia's events on NATS with a durable consumer: `consumer.py NAME SUBJECT`.

Prints each event once, in order, also after restarts of this program or of NATS. What must outlive
a restart are the ids of the last events: here they are in a file, `NAME.seen`; a real service keeps
them with its data. Needs `pip install nats-py`.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import nats
from nats.errors import Error
from nats.errors import TimeoutError as NothingCameError

RETRY_SECONDS = 1.0
IDS_KEPT_MAX = 1000


async def follow(name: str, subject: str) -> None:
    """Take message after message until the connection breaks."""
    file = Path(f"{name}.seen")
    seen = file.read_text().split() if file.exists() else []
    url = os.environ.get("SCRINIA_NATS_URL", "nats://127.0.0.1:4222")
    connection = await nats.connect(url, allow_reconnect=False)
    try:
        subscription = await connection.jetstream().pull_subscribe(
            subject, durable=name, stream="SCRINIA"
        )
        while True:
            try:
                messages = await subscription.fetch(10, timeout=5)
            except NothingCameError:
                if not connection.is_connected:
                    return
                continue
            for message in messages:
                event = json.loads(message.data)
                if event["id"] not in seen:  # at least once: skip what was handled before
                    print(event["position"], event["type"], event["subject"], flush=True)
                    seen = [*seen[1 - IDS_KEPT_MAX :], event["id"]]
                    file.write_text("\n".join(seen))
                await message.ack()
    finally:
        await connection.close()


async def main(name: str, subject: str) -> None:
    """Begin anew whenever NATS is gone."""
    while True:
        try:
            await follow(name, subject)
        except (Error, OSError) as error:
            print(f"NATS: {error or type(error).__name__}; trying again", file=sys.stderr)
        await asyncio.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
