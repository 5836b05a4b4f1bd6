"""A receiver of Scrinia's webhooks: verifies, de-duplicates, acts.

    pip install aiohttp standardwebhooks
    WEBHOOK_SECRET=whsec_... python receiver.py 8080

Answer 2xx for everything that is genuine, also for what you do not use: else it comes again.
"""

import os
import sys
from collections import OrderedDict

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

IDS_KEPT_MAX = 10_000


class Receiver:
    """Keep the ids with whatever acting on an event changes, in one transaction."""

    def __init__(self, secret: str) -> None:
        self.verifier = Webhook(secret)
        self.seen: OrderedDict[str, None] = OrderedDict()

    async def receive(self, request: web.Request) -> web.Response:
        """Take one event."""
        try:
            event = self.verifier.verify(await request.read(), dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        event_id = request.headers["webhook-id"]
        if event_id not in self.seen:
            print(event.get("position", "test"), event["type"], event.get("subject"), flush=True)
            self.seen[event_id] = None
            if len(self.seen) > IDS_KEPT_MAX:
                self.seen.popitem(last=False)
        return web.Response(status=204)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/", Receiver(os.environ["WEBHOOK_SECRET"]).receive)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
