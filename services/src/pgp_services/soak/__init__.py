"""The soak: the pilot under load and under every fault of the matrix, for as long as one likes."""
