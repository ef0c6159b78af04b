"""The PGP payment fleet on pgp_config: catalogue, containers, clients, apps."""
