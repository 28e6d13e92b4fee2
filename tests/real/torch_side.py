"""Tiny checkpoints and what they have to answer, by transformers and torch in float32.

Run by the server environment's Python, so that the client is tested where neither is installed.
One JSON request per line on stdin, `{"make": {...}}`, `{"score": {...}}` or the like;
one JSON reply each.
"""

import hashlib
import itertools
import json
import operator
import shutil
import sys
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from published import (
    EurusRewardModel,
    FeedbackRewardModel,
    GPTNeoXRewardModel,
    GPTRewardModel,
    GRewardModel,
    INFORMForSequenceClassification,
    InternLM2ForRewardModel,
    LlamaForScore,
    LlamaRewardModel,
    Published,
    Qwen2ForPrmModel,
    Qwen2ForProcessRewardModel,
    Qwen2ForRewardModel,
    Qwen3ForRewardModel,
    RewardModel,
)
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoTokenizer,
    CohereForCausalLM,
    Gemma2ForCausalLM,
    Gemma2ForSequenceClassification,
    GraniteForCausalLM,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen2ForSequenceClassification,
    Qwen3ForSequenceClassification,
)

DATA = Path(__file__).parent / "data"
BATCH = 64
CHOICES = 20
WHOLE, SHARD = "1GB", "400KB"
# The tokenizer's 495, padded as real models pad: transformers adds <|endoftext|> to every Qwen2's.
VOCABULARY = 512

LABELS = ("helpful", "correct", "coherent", "complex", "verbose")
OWN_CODE = "AutoModelForSequenceClassification"

# Class, chat template, and what is particular in the configuration. The class name is what vLLM
# goes by; `auto_map` names the class where config.json gives it another.
KINDS = {
    "llama": (LlamaForSequenceClassification, "llama.jinja", {"num_labels": 1}),
    "labels": (LlamaForSequenceClassification, "llama.jinja", {"num_labels": 5}),
    "named labels": (
        LlamaForSequenceClassification,
        "llama.jinja",
        {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}},
    ),
    "causal": (LlamaForCausalLM, "llama.jinja", {}),
    "tied": (LlamaForCausalLM, "llama.jinja", {"tie_word_embeddings": True}),
    "gemma2": (
        Gemma2ForCausalLM,
        "chatml.jinja",
        {
            "head_dim": 64,
            "query_pre_attn_scalar": 64,
            "final_logit_softcapping": 5.0,
            "tie_word_embeddings": True,
        },
    ),
    "gemma2, classifier": (
        Gemma2ForSequenceClassification,
        "chatml.jinja",
        {
            "head_dim": 64,
            "query_pre_attn_scalar": 64,
            "num_labels": 1,
            "hidden_act": "gelu_pytorch_tanh",  # as published; SGLang reads it
            "attn_logit_softcapping": None,  # SGLang's attention on the CPU knows none
        },
    ),
    "granite": (
        GraniteForCausalLM,
        "chatml.jinja",
        {
            "logits_scaling": 4.0,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.1,
        },
    ),
    "cohere": (CohereForCausalLM, "chatml.jinja", {"logit_scale": 0.25}),
    "qwen2": (Qwen2ForSequenceClassification, "chatml.jinja", {"num_labels": 1}),
    "qwen3": (Qwen3ForSequenceClassification, "chatml.jinja", {"num_labels": 1, "head_dim": 64}),
    "qwen2-reward": (Qwen2ForRewardModel, "chatml.jinja", {"num_labels": 1}),
    "qwen3-reward": (Qwen3ForRewardModel, "chatml.jinja", {"num_labels": 1, "head_dim": 64}),
    "qwen2-rm, remote code": (
        Qwen2ForRewardModel,
        "chatml.jinja",
        {"num_labels": 1, "auto_map": {"AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig"}},
    ),
    "prm": (Qwen2ForProcessRewardModel, "chatml.jinja", {"num_labels": 2}),
    "inform": (INFORMForSequenceClassification, "llama.jinja", {"num_labels": 1}),
    "inform, no biases": (
        INFORMForSequenceClassification,
        "llama.jinja",
        {"num_labels": 1, "head_bias": False},
    ),
    "internlm2": (
        InternLM2ForRewardModel,
        "chatml.jinja",
        {
            "auto_map": {
                "AutoConfig": "configuration_internlm2.InternLM2Config",
                OWN_CODE: "modeling_internlm2.InternLM2ForRewardModel",
            },
            "bias": False,
        },
    ),
    "eurus": (EurusRewardModel, "chatml.jinja", {"sliding_window": None}),
    "ultra": (LlamaRewardModel, "llama.jinja", {}),
    "starling": (GPTRewardModel, "llama.jinja", {}),
    **{
        f"beaver {score_type}{', normalized' if normalize else ''}": (
            LlamaForScore,
            "llama.jinja",
            {
                "score_type": score_type,
                "score_dim": 1,
                "bias": True,
                "do_normalize": normalize,
                "normalizer_type": "ExponentialMovingAverage",
            },
        )
        for score_type in ("reward", "cost")
        for normalize in (False, True)
    },
    "cloud": (FeedbackRewardModel, "llama.jinja", {"model_type": "cloud"}),
    "skywork-o1": (Qwen2ForPrmModel, "chatml.jinja", {}),
    "grm": (
        GRewardModel,
        "llama.jinja",
        {
            "vhead_num_neurons": 64,
            "vhead_num_layers": 1,
            "vhead_layer_type": "mlp",
            "architectures": ["LlamaForCausalLM"],
            "auto_map": {OWN_CODE: "modeling_grm.GRewardModel"},
        },
    ),
    "openrlhf": (
        RewardModel,
        "llama.jinja",
        {"normalize_reward": True, "mean": 1.5, "std": 2.5, "value_head_prefix": "value_head"},
    ),
    "oasst": (
        GPTNeoXRewardModel,
        "llama.jinja",
        {"model_type": "gpt_neox_reward_model", "pooling": "last", "num_key_value_heads": 2},
    ),
}
CLASSES = {model_class.__name__: model_class for model_class, _, _ in KINDS.values()}


def make(folder, kind, seed, dtype, sharded, linked):
    """A checkpoint; with `linked`, as a hub cache has it."""
    model_class, template, settings = KINDS[kind]
    end = "<|eot|>" if template == "llama.jinja" else "<|im_end|>"
    tokenizer = Tokenizer.from_file(str(DATA / "tokenizer.json"))
    if template == "llama.jinja":
        # Llama 3's trap: the template writes the BOS, and the tokenizer would add another.
        tokenizer.post_processor = TemplateProcessing(
            single="<|bos|> $A", special_tokens=[("<|bos|>", tokenizer.token_to_id("<|bos|>"))]
        )
    torch.manual_seed(seed)
    config = model_class.config_class(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 128,  # two heads of 64, the smallest that vLLM's CPU attention takes
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "max_position_embeddings": 1024,
            "initializer_range": 0.2,  # rewards units apart, so that no two are taken for another
            "bos_token_id": tokenizer.token_to_id("<|bos|>"),
            "eos_token_id": tokenizer.token_to_id(end),
            "pad_token_id": tokenizer.token_to_id("<|pad|>"),
            "architectures": [model_class.__name__],
            **settings,
        }
    )
    folder = Path(folder)
    save(model_class(config), folder, getattr(torch, dtype), SHARD if sharded else WHOLE)
    config.dtype = dtype
    stored = {**json.loads(config.to_json_string(use_diff=False)), **settings}
    (folder / "config.json").write_text(json.dumps(stored, indent=2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token=end,
        pad_token="<|pad|>",
        chat_template=(DATA / template).read_text(encoding="utf-8"),
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    name_tokenizer_class(folder / "tokenizer_config.json")
    for code in DATA.glob(f"configuration_{config.model_type}.py"):
        shutil.copy(code, folder)
    if linked:
        link(folder)


def name_tokenizer_class(settings):
    """By the name that each release of transformers knows: SGLang 0.4.9 comes with 4.54."""
    stored = json.loads(settings.read_text(encoding="utf-8"))
    stored["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.write_text(json.dumps(stored, indent=2), encoding="utf-8")


def save(model, folder, dtype, shard_size):
    if not isinstance(model, Published):
        model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
        return
    model.initialize()
    folder.mkdir(parents=True)
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.published().items()
    }
    save_torch_state_dict(tensors, folder, max_shard_size=shard_size, metadata={"format": "pt"})


def link(folder):
    """The files become links into `blobs`, two folders up, where their digests name them."""
    blobs = folder.parents[1] / "blobs"
    blobs.mkdir()
    for file in folder.iterdir():
        blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(blob)
        file.symlink_to(Path("../../blobs") / blob.name)


def load(folder):
    """The checkpoint in float32."""
    stored = json.loads(Path(folder, "config.json").read_text())
    own_class = stored.get("auto_map", {}).get(OWN_CODE, "").rpartition(".")[2]
    model_class = CLASSES[own_class or stored["architectures"][0]]
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    if not issubclass(model_class, Published):
        return model_class.from_pretrained(folder, **options).eval()
    stored["model_type"] = model_class.config_class.model_type
    model = model_class(model_class.config_class(**{**stored, **options}))
    tensors = {}
    for file in Path(folder).glob("model*.safetensors"):
        tensors |= load_file(file)
    model.load_published(
        {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
    )
    return model.eval()


def tokenize(tokenizer, sample, as_text=False, opened=False, continues=False):
    if "ids" in sample:
        return sample["ids"]
    if "text" in sample:
        return tokenizer(sample["text"], add_special_tokens=False)["input_ids"]
    for message in sample["messages"]:
        for call in message.get("tool_calls", ()):
            # OpenAI's wire format is a string; templates are written for the object.
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return tokenizer.apply_chat_template(
        sample["messages"],
        tools=sample.get("tools"),
        add_generation_prompt=opened,
        continue_final_message=continues,
        tokenize=not as_text,
        return_dict=False,
        **sample.get("chat_template_kwargs") or {},
    )


def answer(model, inputs, tokens):
    """For each token rewards, logits of `tokens`, or the hidden states."""
    if tokens:
        return model(inputs).logits[..., tokens]
    body = operator.attrgetter(getattr(model, "body", "model"))(model)
    states = body(inputs).last_hidden_state
    if isinstance(model, Published):
        return model.answer(states)
    return model.score(states) if hasattr(model, "score") else states


@torch.inference_mode()
def score(folder, samples, step_token, tokens, opened):
    """Token IDs, the answer at the last one, and the answers at step tokens.

    Samples of one length share a batch, unpadded.
    """
    model = load(folder)
    has_code = any(Path(folder).glob("*.py"))
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=has_code)
    token_ids = tokenizer.convert_tokens_to_ids(tokens)
    ids = [tokenize(tokenizer, sample, opened=opened) for sample in samples]
    answers = [None] * len(ids)
    by_length = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    for _, same in itertools.groupby(by_length, key=lambda index: len(ids[index])):
        while batch := list(itertools.islice(same, BATCH)):
            inputs = torch.tensor([ids[index] for index in batch])
            rows = answer(model, inputs, token_ids)
            for index, row, values in zip(batch, inputs, rows, strict=True):
                answers[index] = {
                    "ids": ids[index],
                    "last": values[-1].tolist(),
                    "steps": values[row == step_token].tolist(),
                }
    return answers


@torch.inference_mode()
def write(folder, samples, max_tokens, continues):
    """The likeliest text after each conversation, with its tokens and why it ends.

    For each token: the texts of the `CHOICES` likeliest ones in its place, with their
    log-probabilities.
    """
    model = load(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    answers = []
    for sample in samples:
        ids = tokenize(tokenizer, sample, opened=not continues, continues=continues)
        made = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            do_sample=False,
            max_new_tokens=max_tokens,
            output_logits=True,
            return_dict_in_generate=True,
        )
        written = made.sequences[0, len(ids) :].tolist()
        choices = torch.log_softmax(torch.cat(made.logits), -1).topk(CHOICES)
        texts = [tokenizer.batch_decode(row[:, None]) for row in choices.indices]
        ended = written[-1] == model.config.eos_token_id
        text = tokenizer.decode(written, skip_special_tokens=True)
        chosen = [
            [*zip(*row, strict=True)] for row in zip(texts, choices.values.tolist(), strict=True)
        ]
        answers.append(
            {"ids": ids, "written": written, "text": text, "ended": ended, "choices": chosen}
        )
    return answers


@torch.inference_mode()
def embed(folder, samples, ids, step_token):
    """What sentence-transformers answers, which goes by the folder's modules.json."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        folder, device="cpu", model_kwargs={"dtype": torch.float32, "attn_implementation": "eager"}
    )
    answers = []
    for row in ids:
        inputs = torch.tensor([row])
        features = model({"input_ids": inputs, "attention_mask": torch.ones_like(inputs)})
        states = features["token_embeddings"][0, inputs[0] == step_token]
        for dense in list(model)[2:]:
            states = dense({"sentence_embedding": states})["sentence_embedding"]
        last = features["sentence_embedding"][0].tolist()
        answers.append({"last": last, "steps": states.tolist(), "encoded": None})
    texts = {
        index: text_of(model.tokenizer, sample, ids[index])
        for index, sample in enumerate(samples)
        if "messages" in sample
    }
    encoded = model.encode(list(texts.values()))
    for index, numbers in zip(texts, encoded, strict=True):
        answers[index]["encoded"] = numbers.tolist()
    return answers


def text_of(tokenizer, sample, ids):
    """A conversation as text that the tokenizer makes those very IDs of."""
    text = tokenize(tokenizer, sample, as_text=True)
    if tokenizer("")["input_ids"]:  # it adds a BOS, which the template has written
        text = text.removeprefix(tokenizer.bos_token)
    assert tokenizer(text)["input_ids"] == ids
    return text


def main():
    torch.set_num_threads(1)  # more would fight the server for the cores, and lose
    actions = {"make": make, "score": score, "embed": embed, "write": write}
    for line in sys.stdin:
        ((action, arguments),) = json.loads(line).items()
        print(json.dumps(actions[action](**arguments)), flush=True)


if __name__ == "__main__":
    main()
