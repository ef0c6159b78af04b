"""PGP_WEBAPI_v1: the REST API for channel owners, as far as it needs secrets."""
