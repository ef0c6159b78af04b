"""A small live demonstration: requests in threads of this process while their key is rotated and its source goes away."""

from pgp_config.demo.promises import Facts, Promise
from pgp_config.demo.show import CUES, Cue, Show
from pgp_config.demo.stage import Stage

__all__ = ["CUES", "Cue", "Facts", "Promise", "Show", "Stage"]
