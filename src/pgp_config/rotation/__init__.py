"""A rotation, step by step, each of which can be interrupted and run again.

value ──▶ plan ──▶ mark ──▶ add ──▶ wait for uptake ──▶ disable the old one ──▶ done

The mark, an annotation of the secret, says where a rotation stands: whoever runs the command again goes on from there.
"""

from pgp_config.rotation.errors import RotationStopped
from pgp_config.rotation.steps import Outcome, Rotation

__all__ = ["Outcome", "Rotation", "RotationStopped"]
