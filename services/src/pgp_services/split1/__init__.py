"""PGP_SPLIT1_v1: takes the fee off, has SPLIT2 say what the rest is worth, and has HOSTPAY1 pay it out."""
