"""The plugin that ms-swift loads by its path, and whose folder it puts on ``sys.path``.

So the folder holds nothing else: a `datasets.py` beside it would hide the library.
"""

from importlib import import_module

from reward_client.integrations.ms_swift import RewardModel

import_module("swift.rewards").orms["reward_client"] = RewardModel
