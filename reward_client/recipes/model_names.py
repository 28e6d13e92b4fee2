"""The forms in which hubs, caches, registries and mounts name a model. Pure."""

from __future__ import annotations

import re

# Slashes of both kinds; a tag or version after a colon; a revision after an at sign; a fragment; a
# query.
_SEPARATORS = re.compile(r"[/\\:@#?&]+")

# Components of a path that name no model: folders of machines, caches and registries, forms of a
# checkpoint, revisions, digests, dates, and the aliases of stages in registries.
_NEUTRAL = re.compile(
    r"""(?:
        \.+ | ~ | mnt | opt | srv | var | tmp | home | root | app | workspace | volumes? | storage
      | pvc | data | datasets? | inputs? | outputs? | artifacts? | checkpoints | hub | cache | local
      | repos? | snapshots? | refs | blobs? | resolve | tree | revisions? | versions? | main
      | master | latest | stable | current | release | prod | production | default | final
      | merged | original | champion | challenger | candidate | staging | live | canary
      | (?:reward|hf|base)?[-_]?(?:models?|llms?)(?:[-_](?:files|store|repository))? | pretrained
      | weights | files | hf | transformers | pytorch | safetensors
      | v?\d+(?:\.\d+)* | (?:sha\d+-)?[0-9a-f]{7,128} | sha\d+ | md5
      | (?:version(?:_?id)?|rev(?:ision)?|generation|tag)=[\w.-]* | \d{4}[-_]?\d{2}[-_]?\d{2}.*
    )""",
    re.VERBOSE | re.IGNORECASE,
)

# Ends of the names of copies, after `model_key`: a precision, a format, or a size of a
# quantization. The groups keep what they matched, so that each name takes linear time.
_QUANTIZATION = re.compile(
    r"""(?:-(?>(?:
        quanti[sz]ed | quant | dynamic | static | block | sym | asym | per | channel | tensor
      | token | group | kv | cache | kvcache | marlin | machete | gemm | gemv | autoround
      | auto-round | ct | compressed-tensors | llm-?compressor | ptpc | ptq | qat | rtn
      | smoothquant | dwq | ud | awq | gptq(?:model|v2)? | gguf | ggml | bnb | bitsandbytes
      | hqq | aqlm | vptq | quip | qtip
      | spqr | higgs | eetq | exl[23](?:-\d(?:-\d{1,2})?)? | mlx | mlc | onnx | openvino
      | ov | tensorrt | trt | coreml | ct2 | ctranslate2 | torchao | modelopt | quark | unsloth
      | hf | safetensors | transformers
      | act-?order | desc-?act | true | false
      | (?:nv|mx)?fp(?:4|6|8|16|32)(?:a\d+|kv|-moe)? | [an]f4 | e\dm\d(?:fn)?(?:uz)? | t?f32
      | b?f16 | half | b?float(?:4|8|16|32)(?:wo|dq)? | u?int[1-8](?:wo|dq)?
      | [1-8](?:-[0-9]{1,2})?-?bits? | w\d+(?:a(?:fp)?\d+)?(?:kv\d+|c\d+)? | a(?:8|16)
      | kv(?:fp)?\d+ | (?:gs?|group|groupsize)\d+ | \d{2,4}g | h[468] | \d(?:-\d{1,2})?-?bpw
      | i1 | imat(?:rix)? | (?:i|t)?q[1-8](?:-(?:[0-8klsm]|x{1,3}[sl]|nl))* | q\df(?:16|32)(?:-\d)?
      | \d{5}-of-\d{5}
    )(?=-|$)))++""",
    re.VERBOSE,
)


def model_key(name: str) -> str:
    """Return the key of a name: lower case, with one hyphen for each run of other characters."""
    return re.sub(r"[^0-9a-z]+", "-", name.casefold()).strip("-")


def keys_in(location: str) -> tuple[str, ...]:
    """Return the keys of the names that a location may give a model, the most literal one first.

    A location is a hub ID, a folder, a URL of a registry, or a served name. Hugging Face's cache
    writes ``models--ORG--NAME/snapshots/REVISION``, ModelScope's writes ``___`` for a dot, and
    registries append a version. A folder or tag that names a precision is an end of the name.
    """
    parts = [part for part in _SEPARATORS.split(location) if part]
    end = ""
    while parts:
        if not _NEUTRAL.fullmatch(parts[-1]):
            key = f"-{model_key(parts[-1])}"
            if not is_quantization(key):
                break
            end = key + end
        parts.pop()
    if not parts:
        return ()
    named = parts[-1].removeprefix("models--").replace("___", ".")
    # A flattened ID has two hyphens or underscores between the organization and the name.
    flattened = re.split(r"--|__", named)[-1]
    keys = dict.fromkeys(model_key(each) for each in (named, flattened))
    return tuple(key + end for key in keys if key)


def anywhere(key: str) -> re.Pattern[str]:
    """Return the pattern that finds a key as whole words in the key of a location.

    Names drop or add separators between words, and the dot of a version: ``qrm-llama31``.
    """
    words = "-?".join(re.findall(r"[a-z]+|[0-9]+", key))
    return re.compile(rf"(?<![0-9a-z]){words}(?![0-9a-z])")


def is_quantization(end: str) -> bool:
    """Return True if an end of a key, with its hyphen, only names a copy in another precision."""
    return _QUANTIZATION.fullmatch(end) is not None


def is_hub_id(location: str) -> bool:
    """Return True if a location has the form of a hub ID, ``ORG/NAME``, and not of a folder."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", location) is not None and not any(
        map(_NEUTRAL.fullmatch, location.split("/"))
    )
