"""The demo: the pilot under load while its secrets rotate and their source goes away."""
