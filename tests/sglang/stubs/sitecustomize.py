"""Stand-ins for the packages of SGLang that are built for CUDA, so that it runs on a plain CPU.

Python imports this module at its start if its folder is on PYTHONPATH. A package of `MISSING` that
is not installed imports as a module whose attributes are modules as well. An installed one wins.
"""

import importlib.machinery
import sys
import types

MISSING = (
    "triton",
    "sgl_kernel",
    "flashinfer",
    "sgl_deep_gemm",
    "deep_gemm",
    "torch_memory_saver",
    "vllm._custom_ops",
    "torchao",
)
# SGLang 0.4 takes these layers from vLLM where there is no GPU; its own have a path for torch too.
BORROWED = (
    "vllm.model_executor.layers.activation",
    "vllm.model_executor.layers.layernorm",
)


class AnyClass:
    """The base of the classes that a missing module is asked for."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__()

    def __init__(self, *args, **options):
        pass


class MissingModule(types.ModuleType):
    """A module that has every attribute, and does nothing."""

    def __init__(self, name):
        super().__init__(name)
        self.__path__ = []
        self.__package__ = name
        self.__file__ = __file__
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        self.__version__ = "9.9.9"

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        full_name = f"{self.__name__}.{name}"
        if full_name in sys.modules:
            return sys.modules[full_name]
        if name[:1].isupper():
            value = type(name, (AnyClass,), {"__module__": self.__name__})
        else:
            value = MissingModule(full_name)
        setattr(self, name, value)
        return value

    def __call__(self, *args, **options):
        """As a decorator, return the function; two functions of triton are computed."""
        if self.__name__ == "triton.cdiv":
            return -(args[0] // -args[1])
        if self.__name__ == "triton.next_power_of_2":
            return 1 << (args[0] - 1).bit_length() if args[0] > 0 else 1
        if len(args) == 1 and callable(args[0]) and not options:
            return args[0]
        return lambda function: function

    def __getitem__(self, key):
        return self

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 0

    def __bool__(self):
        return False

    def __mro_entries__(self, bases):
        return (AnyClass,)


class BorrowedModule(types.ModuleType):
    """A module of vLLM whose classes are those of SGLang."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        own = "sglang.srt.layers." + self.__name__.rpartition(".")[2]
        return getattr(sys.modules[own], name)


class Loader:
    """Creates the modules of one kind."""

    def __init__(self, kind):
        self._kind = kind

    def create_module(self, spec):
        return self._kind(spec.name)

    def exec_module(self, module):
        pass


class Finder:
    """Finds what no other finder found."""

    def find_spec(self, name, path=None, target=None):
        if name in BORROWED:
            return importlib.machinery.ModuleSpec(name, Loader(BorrowedModule))
        is_missing = name.partition(".")[0] in MISSING or name in MISSING
        if is_missing or any(each.startswith(f"{name}.") for each in (*MISSING, *BORROWED)):
            return importlib.machinery.ModuleSpec(name, Loader(MissingModule), is_package=True)
        return None


class Preparation:
    """Prepares torch before the packages that would fail on its build for the CPU."""

    def __init__(self):
        self._prepared = set()

    def find_spec(self, name, path=None, target=None):
        if name in ("torchvision", "sglang") and name not in self._prepared:
            self._prepared.add(name)
            self._prepare(name)
        return

    def _prepare(self, name):
        import torch

        if name == "torchvision":
            # PyPI's build is for CUDA: its operations do not load, and its import needs them.
            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            for operation in ("nms", "qnms"):
                torch.library.define(f"torchvision::{operation}", boxes)
        elif not hasattr(torch._C._cpu, "_is_amx_tile_supported"):
            torch._C._cpu._is_amx_tile_supported = lambda: False


sys.meta_path.append(Finder())
sys.meta_path.insert(0, Preparation())
