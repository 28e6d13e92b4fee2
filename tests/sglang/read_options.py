"""Prints the options of the installed SGLang, once its own parser has accepted some commands.

Runs in the environment of the server: the commands come from stdin, as a JSON array of arrays.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version

from sglang.srt.server_args import ServerArgs

parser = argparse.ArgumentParser(allow_abbrev=False)
ServerArgs.add_cli_args(parser)
for command in json.load(sys.stdin):
    parser.parse_args(command)
options = [option for option in parser._option_string_actions if option.startswith("--")]
print(json.dumps({"version": version("sglang"), "options": options}))
