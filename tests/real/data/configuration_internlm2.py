"""What the published repository has under this name: transformers does not know the model."""

from transformers import PretrainedConfig


class InternLM2Config(PretrainedConfig):
    model_type = "internlm2"
