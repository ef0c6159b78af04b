"""For tests of services: a pytest plugin with a local Secret Manager."""
