"""What a checkpoint answers, by transformers and torch in this process, in float32.

Attention is computed "eager": other implementations leave out what some models need (Gemma 2's
soft-capping in PyTorch's own).
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
from reward_client.export.checkpoint import Checkpoint, Tensor, read_checkpoint, shown
from reward_client.export.head_finder import LM_HEAD, FoundHead, find_head
from reward_client.export.layers import Layer
from reward_client.export.tensor_names import kept_tensors
from reward_client.export.token_head import tokens_named

Outputs: TypeAlias = Callable[[Sequence[int]], list[list[float]]]
"""From token IDs to the head's raw outputs at each token."""


def original_model(folder: Path, head: str) -> tuple[Outputs, str]:
    """The source, by the class that transformers has for it if there is one; and how, in words.

    Raises:
        ExportError: It cannot be loaded.
        ImportError: torch or transformers is not installed.
    """
    torch, transformers = libraries()
    checkpoint = read_checkpoint(folder)
    if head.startswith(LM_HEAD):
        model = _loaded(transformers.AutoModelForCausalLM, folder)
        tokens = tokens_named(checkpoint, head.removeprefix(LM_HEAD))
        return _of_logits(torch, model, tokens), type(model).__name__
    if head == "auto" and hasattr(transformers, checkpoint.architecture):
        model = _loaded(getattr(transformers, checkpoint.architecture), folder)
        return _chained(torch, model.base_model, [model.score]), type(model).__name__
    found = find_head(checkpoint, head)
    model = _bare_model(checkpoint, found)
    layers = [module for layer in found.layers for module in _modules(torch, layer)]
    return _chained(torch, model, layers), f"{type(model).__name__} and the head's tensors"


def exported_model(folder: Path) -> tuple[Outputs, str]:
    """The exported folder, as its ``modules.json`` says; and how, in words.

    Raises:
        ExportError: It cannot be loaded.
        ImportError: torch or transformers is not installed.
    """
    torch, transformers = libraries()
    read = importlib.import_module("safetensors.torch").load_file
    model = _loaded(transformers.AutoModel, folder)
    layers: list[Any] = []
    with _wrapped(folder):
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
            place, _, name = settings["activation_function"].rpartition(".")
            layers += [linear, getattr(importlib.import_module(place), name)()]
    return _chained(torch, model, layers), "modules.json"


def _bare_model(checkpoint: Checkpoint, found: FoundHead) -> Any:
    """The backbone of a checkpoint for which transformers has no class, straight from its files."""
    _, transformers = libraries()
    read = importlib.import_module("safetensors.torch").load_file
    config = backbone_config(checkpoint.config, backbone_of(checkpoint.config))
    kept = kept_tensors(checkpoint, found.drop)
    with _wrapped(checkpoint.folder):
        settings = dict(config)
        made = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        stored = {
            kept[name]: tensor
            for shard in checkpoint.shards
            for name, tensor in read(shard.path).items()
            if name in kept
        }
        kind = transformers.MODEL_MAPPING[type(made)]
    return _loaded(kind, checkpoint.folder, config=made, state_dict=stored)


def _loaded(kind: Any, folder: Path, **given: Any) -> Any:
    """A model in float32, with every weight of its own: transformers makes up missing ones."""
    torch, _ = libraries()
    with _wrapped(folder):
        # Loaded in float32, not made so later: models compute numbers of their own as they load.
        model, found = kind.from_pretrained(
            None if given else str(folder),
            dtype=torch.float32,
            attn_implementation="eager",
            trust_remote_code=False,
            output_loading_info=True,
            **given,
        )
    if found["missing_keys"]:
        raise ExportError(
            f"{folder} lacks weights of its model: {shown(sorted(found['missing_keys']))}."
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


def _chained(torch: Any, backbone: Any, layers: Sequence[Any]) -> Outputs:
    def outputs(ids: Sequence[int]) -> list[list[float]]:
        with torch.inference_mode():
            state = backbone(torch.tensor([list(ids)])).last_hidden_state[0]
            for layer in layers:
                state = layer(state)
            rows: list[list[float]] = state.tolist()
            return rows

    return outputs


def _of_logits(
    torch: Any,
    model: Any,
    tokens: Sequence[tuple[int, float]],
) -> Outputs:
    def outputs(ids: Sequence[int]) -> list[list[float]]:
        with torch.inference_mode():
            logits = model(torch.tensor([list(ids)])).logits[0]
            named = logits[:, [token for token, _ in tokens]]
            counts = torch.tensor([[counted] for _, counted in tokens])
            rows: list[list[float]] = (named @ counts).tolist()
            return rows

    return outputs


def libraries() -> tuple[Any, Any]:
    """Torch and transformers.

    Raises:
        ImportError: One of them is not installed.
    """
    try:
        return importlib.import_module("torch"), importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "To verify an export in this process needs torch and transformers: "
            "pip install 'reward-client[verify]'. Running servers do without: give their URLs "
            "(--original-url, --exported-url)."
        ) from error


@contextmanager
def _wrapped(folder: Path) -> Generator[None]:
    """What transformers and torch raise, which may be anything, as one error."""
    try:
        yield
    except Exception as error:
        raise ExportError(
            f"transformers cannot load {folder}: {str(error)[:300]} Give the URLs of running "
            "servers instead (--original-url, --exported-url)."
        ) from error
