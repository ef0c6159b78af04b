"""PGP_INVITE_v1: lets a payer into the channel that was paid for."""
