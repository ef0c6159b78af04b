"""How frameworks that are neither ASGI nor WSGI, or that hide it, enter and leave a scope: a file for each.

Nothing here is imported by `pgp_config` itself, and each file imports the one framework that it is for:
whoever uses it has that framework.
"""
