"""A Flask application, for gunicorn; `PROCESS_LOAD` says whether it is loaded on import."""

import os

import service
from flask import Flask

from pgp_config.status import StatusPage
from pgp_config_flask import install

secrets = service.new_container()
app = Flask("processes")


@app.get("/")
def read():
    return service.read(secrets)


@app.get("/idle")
def idle():
    return service.seen()


install(app, secrets, load=os.environ["PROCESS_LOAD"], status=StatusPage(service.admit))
