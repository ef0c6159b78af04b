"""PGP_HOSTPAY1_v1: sees a payout through: its exchange, its payment by HOSTPAY3, and its end at ChangeNow."""
