"""Reward models as they were published: classes and tensor names, in plain torch.

Each computes what its authors' code computes: `answer` gives the reward at each token, from the
hidden states behind the last norm. None knows how a checkpoint is exported. Run by the server
environment's Python.
"""

import torch
from torch import nn
from transformers import (
    GPTNeoXConfig,
    GPTNeoXModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MistralConfig,
    MistralModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
    Qwen3ForSequenceClassification,
)


def two_layers(width, labels, *, bias=True):
    return nn.Sequential(
        nn.Linear(width, width, bias=bias), nn.ReLU(), nn.Linear(width, labels, bias=bias)
    )


class Qwen2ForRewardModel(Qwen2ForSequenceClassification):
    """Qwen2.5-Math-RM; vLLM has it and transformers has not."""

    def __init__(self, config):
        super().__init__(config)
        self.score = two_layers(config.hidden_size, config.num_labels)
        self.post_init()


class Qwen3ForRewardModel(Qwen3ForSequenceClassification):
    """The same on Qwen3; SGLang has it, and neither vLLM nor transformers."""

    def __init__(self, config):
        super().__init__(config)
        self.score = two_layers(config.hidden_size, config.num_labels)
        self.post_init()


class Qwen2ForProcessRewardModel(Qwen2ForRewardModel):
    """Qwen2.5-Math-PRM: two labels, of which vLLM answers each step token's."""


class Published(nn.Module):
    """One whose code is not in transformers.

    Attributes:
        config_class: The configuration of the body, which holds the keys of the head as well.
        body: Where the body is, in the tensors' names.
    """

    config_class = LlamaConfig
    body = "model"

    def __init__(self, config):
        super().__init__()
        self.config = config

    def answer(self, states):
        raise NotImplementedError

    def initialize(self):
        """The head as wide as transformers makes the body."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and not name.startswith(self.body + "."):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
                if module.bias is not None:
                    nn.init.normal_(module.bias)

    def published(self):
        """Tensors as the checkpoint has them."""
        return self.state_dict()

    def load_published(self, tensors):
        self.load_state_dict(tensors)


class INFORMForSequenceClassification(Published):
    """INF-ORM-Llama3.1-70B."""

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        # The published head has biases; one without is of this layout, too.
        bias = getattr(config, "head_bias", True)
        self.score = two_layers(config.hidden_size, config.num_labels, bias=bias)

    def answer(self, states):
        return self.score(states)


class EurusRewardModel(Published):
    """Eurus-RM-7b."""

    config_class = MistralConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = MistralModel(config)
        self.regression_head = nn.Linear(config.hidden_size, 1, bias=False)

    def answer(self, states):
        return self.regression_head(states)


class LlamaRewardModel(Published):
    """UltraRM-13b."""

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.regression_head = nn.Linear(config.hidden_size, 1, bias=False)

    def answer(self, states):
        return self.regression_head(states)


class GPTRewardModel(Published):
    """Starling-RM-7B-alpha."""

    body = "transformer"

    def __init__(self, config):
        super().__init__(config)
        self.transformer = LlamaModel(config)
        self.v_head = nn.Linear(config.hidden_size, 1, bias=False)

    def answer(self, states):
        return self.v_head(states)


class LlamaForScore(Published):
    """Beaver-7b, reward and cost."""

    class Normalizer(nn.Module):
        """Statistics of training, far enough from 0 and 1 that leaving them out shows."""

        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor([1.75]))
            self.register_buffer("var", torch.tensor([6.25]))
            self.register_buffer("count", torch.tensor([4096]))

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score_head = nn.Linear(config.hidden_size, config.score_dim, bias=config.bias)
        self.normalizer = self.Normalizer()

    def answer(self, states):
        score = self.score_head(states)
        if not self.config.do_normalize:
            return score
        if self.config.score_type == "reward":
            score = score - self.normalizer.mean
        return score / (self.normalizer.var.sqrt() + 1e-8)


class FeedbackRewardModel(Published):
    """CLoud."""

    body = "reward_base_model.model"

    class RewardHead(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.dense = nn.Linear(width, width)
            self.out_proj = nn.Linear(width, 1)

    def __init__(self, config):
        super().__init__(config)
        self.reward_base_model = LlamaForCausalLM(config)
        self.reward_head = self.RewardHead(config.hidden_size)

    def answer(self, states):
        return self.reward_head.out_proj(torch.tanh(self.reward_head.dense(states)))


class ValueHead(nn.Module):
    """TRL's: one layer in `summary`, or several."""

    def __init__(self, summary):
        super().__init__()
        self.summary = summary


class Qwen2ForPrmModel(Published):
    """Skywork-o1-Open-PRM, whose files still have the language model's head."""

    config_class = Qwen2Config

    def __init__(self, config):
        super().__init__(config)
        language_model = Qwen2ForCausalLM(config)
        self.model = language_model.model
        self.lm_head = language_model.lm_head
        self.v_head = ValueHead(nn.Linear(config.hidden_size, 1))

    def answer(self, states):
        return self.v_head.summary(states)


class GRewardModel(Published):
    """GRM-sftreg: its `config.json` says LlamaForCausalLM."""

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        neurons = config.vhead_num_neurons
        self.v_head = ValueHead(
            nn.Sequential(nn.Linear(config.hidden_size, neurons), nn.ReLU(), nn.Linear(neurons, 1))
        )

    def answer(self, states):
        return self.v_head.summary(states)


class RewardModel(Published):
    """OpenRLHF's, which normalizes by its configuration."""

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.value_head = nn.Linear(config.hidden_size, 1, bias=False)

    def answer(self, states):
        score = self.value_head(states)
        if self.config.normalize_reward:
            score = (score - self.config.mean) / self.config.std
        return score


class GPTNeoXRewardModel(Published):
    """oasst-rm-2.1-pythia-1.4b."""

    config_class = GPTNeoXConfig
    body = "gpt_neox"

    def __init__(self, config):
        super().__init__(config)
        self.gpt_neox = GPTNeoXModel(config)
        self.out_proj = nn.Linear(config.hidden_size, 1)

    def answer(self, states):
        return self.out_proj(states)


class InternLM2Config(LlamaConfig):
    model_type = "internlm2"


INTERNLM2_NAMES = {
    "embed_tokens": "tok_embeddings",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}


class InternLM2ForRewardModel(Published):
    """internlm2-1_8b-reward: Llama's arithmetic; other names, and one matrix for q, k and v."""

    config_class = InternLM2Config

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.v_head = nn.Linear(config.hidden_size, 1, bias=False)

    def answer(self, states):
        return self.v_head(states)

    def published(self):
        tensors = self.state_dict()
        for layer in range(self.config.num_hidden_layers):
            attention = f"model.layers.{layer}.self_attn"
            qkv = [tensors.pop(f"{attention}.{name}_proj.weight") for name in "qkv"]
            # Each key head's query heads, then its key and its value.
            heads = [each.view(self._groups, -1, self._head, each.shape[1]) for each in qkv]
            packed = torch.cat(heads, dim=1).flatten(0, 2)
            tensors[f"model.layers.{layer}.attention.wqkv.weight"] = packed
        return {self._renamed(name, INTERNLM2_NAMES): each for name, each in tensors.items()}

    def load_published(self, tensors):
        back = {theirs: ours for ours, theirs in INTERNLM2_NAMES.items()}
        tensors = {self._renamed(name, back): each for name, each in tensors.items()}
        for layer in range(self.config.num_hidden_layers):
            packed = tensors.pop(f"model.layers.{layer}.attention.wqkv.weight")
            packed = packed.view(self._groups, -1, self._head, packed.shape[1])
            queries = packed.shape[1] - 2
            for name, part in zip("qkv", packed.split([queries, 1, 1], dim=1), strict=True):
                weight = f"model.layers.{layer}.self_attn.{name}_proj.weight"
                tensors[weight] = part.flatten(0, 2)
        self.load_state_dict(tensors)

    @property
    def _groups(self):
        return self.config.num_key_value_heads

    @property
    def _head(self):
        return self.config.hidden_size // self.config.num_attention_heads

    @staticmethod
    def _renamed(name, names):
        for old, new in names.items():
            name = name.replace(f".{old}.", f".{new}.")
        return name
