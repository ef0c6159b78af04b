"""PGP_BATCHPROCESSOR_v1: has SPLIT1 pay out what has reached its threshold."""
