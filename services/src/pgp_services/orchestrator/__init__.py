"""PGP_ORCHESTRATOR_v1: lets the payer of a received payment in, and has the payment split or accumulated."""
