"""Pushes: Secret Manager says that a version came or went, and that very version is fetched at once.

`event` reads what Pub/Sub brings, `endpoint` takes it over HTTP, `listener` pulls it with Google's
client, `tokens` verifies who sent it. A push only makes a change known sooner: it can be lost, and
`max_age` stays the guarantee.
"""

from pgp_config.push.endpoint import PushEndpoint
from pgp_config.push.event import PushRefused, SecretEvent
from pgp_config.push.listener import PubSubListener
from pgp_config.push.tokens import GoogleTokens

__all__ = ["GoogleTokens", "PubSubListener", "PushEndpoint", "PushRefused", "SecretEvent"]
