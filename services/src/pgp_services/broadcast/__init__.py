"""PGP_BROADCAST_v1: writes the same to many chats."""
