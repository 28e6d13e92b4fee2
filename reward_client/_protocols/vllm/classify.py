"""``/classify``: texts only from vLLM 0.9.0 on, token IDs from 0.15.0.

The values are called ``probs`` there, raw ones too.
"""

PATH = "/classify"
ITEM_KEY = "probs"
