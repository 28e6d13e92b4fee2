"""Evaluate reward models on the published benchmarks, from the benchmark's file to its table."""

from reward_client.evaluation.benchmark import Benchmark
from reward_client.evaluation.catalogue import BENCHMARKS
from reward_client.evaluation.comparison import MeasureDifference, ModelComparison, compare
from reward_client.evaluation.measures import Measure
from reward_client.evaluation.results import Evaluation
from reward_client.evaluation.runner import evaluate, evaluate_scored

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Evaluation",
    "Measure",
    "MeasureDifference",
    "ModelComparison",
    "compare",
    "evaluate",
    "evaluate_scored",
]
