"""Receive the webhooks of jobs, verify them, and print each job that has ended:
WEBHOOK_SECRET=whsec_... uvicorn --app-dir examples webhook_receiver:app

It needs fastapi, uvicorn and standardwebhooks. docs/webhooks.md says who has the secret.
"""

import os

from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

app = FastAPI()
verifier = Webhook(os.environ["WEBHOOK_SECRET"])
seen: set[str] = set()  # in production: a table with a unique column


@app.post("/maskq")
async def receive(request: Request) -> Response:
    try:
        message = verifier.verify(await request.body(), dict(request.headers))
    except WebhookVerificationError:
        return Response(status_code=401)
    if request.headers["webhook-id"] not in seen:
        seen.add(request.headers["webhook-id"])
        print(message["data"]["id"], message["data"]["status"], flush=True)
    return Response(status_code=204)
