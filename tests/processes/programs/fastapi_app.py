"""A FastAPI application, for uvicorn; `PROCESS_LOAD` says whether it is loaded on import."""

import os

import service
from fastapi import FastAPI

from pgp_config.status import StatusPage
from pgp_config_fastapi import install

secrets = service.new_container()
if os.environ["PROCESS_LOAD"] == "install":
    secrets.load()
app = FastAPI()


@app.get("/")
async def read():
    key, other = await secrets.key.async_(), await secrets.other.async_()
    return service.seen(key, other, await secrets.signing.async_())


@app.get("/idle")
async def idle():
    return service.seen()


install(app, secrets, status=StatusPage(service.admit))
