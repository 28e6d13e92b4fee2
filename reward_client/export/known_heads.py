"""How published reward models lay out their heads, as data with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from reward_client.export.layers import Activation


@dataclass(frozen=True, slots=True)
class Layout:
    """A head's modules in order, each a linear layer.

    Attributes:
        name: What it is called in a report.
        modules: Each module's name in the checkpoint (its tensors are ``NAME.weight`` and, if it
            has one, ``NAME.bias``), and what follows it.
        source: Where it was read.
    """

    name: str
    modules: tuple[tuple[str, Activation], ...]
    source: str

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of its weights."""
        return tuple(_tensor(module, "weight") for module, _ in self.modules)

    @property
    def biases(self) -> tuple[str, ...]:
        """The names of the biases that it may have."""
        return tuple(_tensor(module, "bias") for module, _ in self.modules)


def _tensor(module: str, kind: str) -> str:
    return f"{module}.{kind}" if module else kind


def _linear(module: str, source: str) -> Layout:
    return Layout(module, ((module, "identity"),), source)


LAYOUTS = (
    _linear(
        "score", "transformers, GenericForSequenceClassification: Skywork, FsfairX, GRM-ft, Tulu 3"
    ),
    Layout(
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
    Layout(
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
    _linear("reward_head", "the same name for one linear layer; no catalogued model"),
    Layout(
        "reward_head.dense/.out_proj",
        (("reward_head.dense", "tanh"), ("reward_head.out_proj", "identity")),
        "zankner/CLoud, cloud/model.py",
    ),
    _linear("out_proj", "OpenAssistant/oasst-rm-2.1-pythia-1.4b-epoch-2.5 (GPTNeoXRewardModel)"),
)
"""Heads of whole checkpoints."""

PROBES = (
    Layout("weight", (("", "identity"),), "a file that holds one layer and nothing else"),
    _linear("linear", "sentence-transformers' own Dense modules"),
    *LAYOUTS,
)
"""Heads in a file of their own."""

PROCESS_ARCHITECTURES = frozenset({"Qwen2ForProcessRewardModel", "Qwen2ForPrmModel"})
"""Architectures whose head is read at each step, whatever its width."""

GATES: Mapping[str, str] = MappingProxyType(
    {
        "gating": "ArmoRM, QRM: rewardbench/models/armorm.py",
        "gating_layer": "LDL-Reward-Gemma: rewardbench/models/ldlreward.py",
        "regression_layer": "ArmoRM, QRM, LDL-Reward-Gemma",
        "reward_transform_matrix": "ArmoRM",
    }
)
"""Modules of heads in which a gate multiplies: no stack of dense layers says that."""
