"""PGP_SPLIT2_v1: asks ChangeNow what an amount is worth, and tells SPLIT1 through Cloud Tasks."""
