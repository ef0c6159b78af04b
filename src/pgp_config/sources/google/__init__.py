"""Google Secret Manager, over gRPC or REST, with a deadline, a retry and errors of ours.

manager ──▶ retries ──▶ over_grpc | over_rest ──▶ faults: the status of what failed, as an error of ours

What imports Google's libraries, requests or tenacity (`over_grpc`, `over_rest`, `sources.retries`) is imported by the
first fetch: gRPC and Google's messages take a quarter of a second and 56 MiB, which a service that reads its
secrets from elsewhere should not pay.
"""

from pgp_config.sources.google.manager import GoogleSecretManager

__all__ = ["GoogleSecretManager"]
