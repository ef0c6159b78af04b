"""PGP_NOTIFICATIONS_v1: writes to people as the bot."""
