"""The head layouts of published reward models, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from reward_client.export.layers import LayerActivation


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """The modules of a head in order. Each module is a linear layer.

    Attributes:
        name: Name of the layout in reports.
        modules: Name of each module in the checkpoint, and its activation. The tensors of a module
            are ``NAME.weight`` and optionally ``NAME.bias``.
        source: Code that defines the layout.
    """

    name: str
    modules: tuple[tuple[str, LayerActivation], ...]
    source: str

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weight tensors."""
        return tuple(_tensor(module, "weight") for module, _ in self.modules)

    @property
    def biases(self) -> tuple[str, ...]:
        """Names of the bias tensors, which may be missing."""
        return tuple(_tensor(module, "bias") for module, _ in self.modules)


def _tensor(module: str, parameter: str) -> str:
    return f"{module}.{parameter}" if module else parameter


def _linear(module: str, source: str) -> HeadLayout:
    return HeadLayout(module, ((module, "identity"),), source)


LAYOUTS = (
    _linear(
        "score", "transformers, GenericForSequenceClassification: Skywork, FsfairX, GRM-ft, Tulu 3"
    ),
    HeadLayout(
        "score.0/.2",
        (("score.0", "relu"), ("score.2", "identity")),
        "vLLM 0.32.0, models/qwen2_rm.py (Qwen2.5-Math-RM and -PRM); allenai/reward-bench, "
        "rewardbench/models/inform.py (INF-ORM)",
    ),
    _linear(
        "v_head",
        "vLLM 0.32.0, models/internlm2.py (InternLM2); allenai/reward-bench, "
        "rewardbench/models/starling.py (Starling), athene.py",
    ),
    _linear("v_head.summary", "huggingface/trl, modeling_value_head.py; Skywork-o1-Open-PRM"),
    HeadLayout(
        "v_head.summary.0/.2",
        (("v_head.summary.0", "relu"), ("v_head.summary.2", "identity")),
        "allenai/reward-bench, rewardbench/models/grm.py (GRM-sftreg, GRM-distill)",
    ),
    _linear(
        "regression_head",
        "allenai/reward-bench, rewardbench/models/openbmb.py (UltraRM); openbmb/Eurus-RM-7b",
    ),
    _linear("score_head", "allenai/reward-bench, rewardbench/models/beaver.py (safe-rlhf)"),
    _linear("value_head", "OpenRLHF/OpenRLHF, openrlhf/models/model.py"),
    _linear("reward_head", "a common name for one linear layer; no model of the catalogue"),
    HeadLayout(
        "reward_head.dense/.out_proj",
        (("reward_head.dense", "tanh"), ("reward_head.out_proj", "identity")),
        "zankner/CLoud, cloud/model.py",
    ),
    _linear("out_proj", "OpenAssistant/oasst-rm-2.1-pythia-1.4b-epoch-2.5 (GPTNeoXRewardModel)"),
)
"""Heads in complete checkpoints."""

FILE_LAYOUTS = (
    HeadLayout("weight", (("", "identity"),), "a file with a single layer"),
    _linear("linear", "sentence-transformers' own Dense modules"),
    *LAYOUTS,
)
"""Heads in separate files."""

PROCESS_ARCHITECTURES = frozenset({"Qwen2ForProcessRewardModel", "Qwen2ForPrmModel"})
"""Architectures whose head is read at each step, for any number of outputs."""

GATES: Mapping[str, str] = MappingProxyType(
    {
        "gating": "ArmoRM, QRM: rewardbench/models/armorm.py",
        "gating_layer": "LDL-Reward-Gemma: rewardbench/models/ldlreward.py",
        "regression_layer": "ArmoRM, QRM, LDL-Reward-Gemma",
        "reward_transform_matrix": "ArmoRM",
    }
)
"""Modules of heads with a multiplying gate, which a stack of dense layers cannot express."""
