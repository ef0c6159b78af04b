"""PGP_NP_IPN_v1: takes NOWPayments' word that a payment has come in, and has it processed."""
