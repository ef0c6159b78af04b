"""PGP_MICROBATCHPROCESSOR_v1: swaps accumulated ETH for USDT at ChangeNow, and has HOSTPAY1 pay for it."""
