"""Scores until it is interrupted: `python interrupted.py URL COUNT TOKENS`."""

import signal
import sys

from reward_client import RewardClient

if __name__ == "__main__":
    # A shell that starts the tests in the background has SIGINT ignored, and children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    url, count, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    samples = [[6 + (index + place) % 200 for place in range(tokens)] for index in range(count)]
    with RewardClient(url) as client:
        client.score_many(samples)
