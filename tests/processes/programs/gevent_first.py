"""gunicorn's configuration for its gevent worker: patched before anything else is imported."""

from gevent import monkey

monkey.patch_all()
