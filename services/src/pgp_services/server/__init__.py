"""PGP_SERVER_v1: the bot that takes orders, and the webhooks of those who have something to tell it."""
