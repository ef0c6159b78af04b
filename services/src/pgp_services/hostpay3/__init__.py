"""PGP_HOSTPAY3_v1: pays for exchanges from the host wallet, each once."""
