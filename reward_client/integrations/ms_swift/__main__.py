"""Print the path of the plugin, for ``--external_plugins``."""

from pathlib import Path

print(Path(__file__).parent / "plugin" / "reward_client_plugin.py")
