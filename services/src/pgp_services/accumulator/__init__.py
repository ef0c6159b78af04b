"""PGP_ACCUMULATOR_v1: takes the fee off what is paid out later, and has HOSTPAY1 pay what is released."""
