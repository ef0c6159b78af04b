"""PGP_HOSTPAY2_v1: asks ChangeNow how an exchange is, and tells HOSTPAY1."""
