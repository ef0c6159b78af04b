"""What the services call: each client takes its secrets as providers, and is used from threads and coroutines."""
