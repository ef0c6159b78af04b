"""Step 1 of the flow: where the bytes of a secret come from.

`Source` is the seam. A third party offers one under a URL scheme of its own through the entry-point
group `pgp_config.sources`.
"""
