"""PGP_BOTCOMMAND_v1: answers the bot's commands, and has claimed payments processed."""
