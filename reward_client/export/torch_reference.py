"""Compute rewards of a checkpoint in this process, with transformers and torch in float32.

Models use "eager" attention, because other implementations omit features: PyTorch's own omits the
soft-capping of Gemma 2.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from reward_client.errors import ExportError
from reward_client.export.backbones import backbone_config, backbone_of
from reward_client.export.checkpoint import Checkpoint, Tensor, format_names, read_checkpoint
from reward_client.export.head_finder import LM_HEAD, FoundHead, find_head
from reward_client.export.layers import Layer
from reward_client.export.tensor_names import kept_tensors
from reward_client.export.token_head import choose_tokens

Outputs: TypeAlias = Callable[[Sequence[int]], list[list[float]]]
"""A function from token IDs to the head's raw outputs at each token."""


def original_model(folder: Path, head: str) -> tuple[Outputs, str]:
    """Load the source, with the class of transformers if there is one; also describe the method.

    Raises:
        ExportError: If the model cannot be loaded.
        ImportError: If torch or transformers is not installed.
    """
    torch, transformers = libraries()
    checkpoint = read_checkpoint(folder)
    if head.startswith(LM_HEAD):
        model = _load(transformers.AutoModelForCausalLM, folder)
        tokens = choose_tokens(checkpoint, head.removeprefix(LM_HEAD))
        return _logit_outputs(torch, model, tokens), type(model).__name__
    if head == "auto" and hasattr(transformers, checkpoint.architecture):
        model = _load(getattr(transformers, checkpoint.architecture), folder)
        return _chain(torch, model.base_model, [model.score]), type(model).__name__
    found = find_head(checkpoint, head)
    model = _bare_model(checkpoint, found)
    layers = [module for layer in found.layers for module in _modules(torch, layer)]
    return _chain(torch, model, layers), f"{type(model).__name__} and the head's tensors"


def exported_model(folder: Path) -> tuple[Outputs, str]:
    """Load the exported folder by its ``modules.json``; also describe the method.

    Raises:
        ExportError: If the model cannot be loaded.
        ImportError: If torch or transformers is not installed.
    """
    torch, transformers = libraries()
    read = importlib.import_module("safetensors.torch").load_file
    model = _load(transformers.AutoModel, folder)
    layers: list[Any] = []
    with _export_errors(folder):
        for module in json.loads((folder / "modules.json").read_text()):
            if not module["type"].endswith(".Dense"):
                continue
            settings = json.loads((folder / module["path"] / "config.json").read_text())
            linear = torch.nn.Linear(
                settings["in_features"], settings["out_features"], bias=settings["bias"]
            )
            stored = read(folder / module["path"] / "model.safetensors")
            linear.load_state_dict(
                {name.removeprefix("linear."): weight for name, weight in stored.items()}
            )
            module_name, _, name = settings["activation_function"].rpartition(".")
            layers += [linear, getattr(importlib.import_module(module_name), name)()]
    return _chain(torch, model, layers), "modules.json"


def _bare_model(checkpoint: Checkpoint, found: FoundHead) -> Any:
    """Load the backbone of a checkpoint from its files, if transformers has no class for it."""
    _, transformers = libraries()
    read = importlib.import_module("safetensors.torch").load_file
    config = backbone_config(checkpoint.config, backbone_of(checkpoint.config))
    kept = kept_tensors(checkpoint, found.drop)
    with _export_errors(checkpoint.folder):
        settings = dict(config)
        model_config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        stored = {
            kept[name]: tensor
            for shard in checkpoint.shards
            for name, tensor in read(shard.path).items()
            if name in kept
        }
        model_class = transformers.MODEL_MAPPING[type(model_config)]
    return _load(model_class, checkpoint.folder, config=model_config, state_dict=stored)


def _load(model_class: Any, folder: Path, **arguments: Any) -> Any:
    """Load a model in float32, and refuse random values that transformers uses for lost weights."""
    torch, _ = libraries()
    with _export_errors(folder):
        # In float32 from the start, because models compute some values while they load.
        model, found = model_class.from_pretrained(
            None if arguments else str(folder),
            dtype=torch.float32,
            attn_implementation="eager",
            trust_remote_code=False,
            output_loading_info=True,
            **arguments,
        )
    if found["missing_keys"]:
        raise ExportError(
            f"Cannot load {folder}: weights are missing: "
            f"{format_names(sorted(found['missing_keys']))}."
        )
    return model.eval()


def _modules(torch: Any, layer: Layer) -> Iterator[Any]:
    linear = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    weight, bias = layer.weight, layer.bias
    rows = weight.rows() if isinstance(weight, Tensor) else weight
    state = {"weight": torch.tensor(rows)}
    if bias is not None:
        state["bias"] = torch.tensor(bias.rows()[0] if isinstance(bias, Tensor) else bias)
    linear.load_state_dict(state)
    yield linear
    activations = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "identity": torch.nn.Identity}
    yield activations[layer.activation]()


def _chain(torch: Any, backbone: Any, layers: Sequence[Any]) -> Outputs:
    def outputs(ids: Sequence[int]) -> list[list[float]]:
        with torch.inference_mode():
            state = backbone(torch.tensor([list(ids)])).last_hidden_state[0]
            for layer in layers:
                state = layer(state)
            rows: list[list[float]] = state.tolist()
            return rows

    return outputs


def _logit_outputs(
    torch: Any,
    model: Any,
    tokens: Sequence[tuple[int, float]],
) -> Outputs:
    def outputs(ids: Sequence[int]) -> list[list[float]]:
        with torch.inference_mode():
            logits = model(torch.tensor([list(ids)])).logits[0]
            chosen = logits[:, [token for token, _ in tokens]]
            weights = torch.tensor([[weight] for _, weight in tokens])
            rows: list[list[float]] = (chosen @ weights).tolist()
            return rows

    return outputs


def libraries() -> tuple[Any, Any]:
    """Import torch and transformers.

    Raises:
        ImportError: If torch or transformers is not installed.
    """
    try:
        return importlib.import_module("torch"), importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "Cannot verify an export in this process: torch or transformers is not installed. Run "
            "pip install 'reward-client[verify]', or pass the URLs of running servers "
            "(--original-url, --exported-url)."
        ) from error


@contextmanager
def _export_errors(folder: Path) -> Generator[None]:
    """Raise any error of transformers and torch as `ExportError`."""
    try:
        yield
    except Exception as error:
        raise ExportError(
            f"Cannot load {folder} with transformers: {str(error)[:300]} Pass the URLs of running "
            "servers instead (--original-url, --exported-url)."
        ) from error
