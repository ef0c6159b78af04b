"""PGP_WEB_v1: the front page, which shows public configuration only."""
