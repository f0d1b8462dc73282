"""Loading a model: a name in the settings to a LocalGenerator, or to one sentence that says why not.

Knows folders, the hub, devices and precisions. Nothing is loaded at import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from core.errors import ModelUnavailable
from core.settings import Settings, variable
from workers import machine
from workers.engine import packing
from workers.engine.choice import make_engine
from workers.engine.loop import EngineLoop
from workers.engine.managed import ManagedEngine
from workers.engine.prefixes import KvReuse
from workers.generator import ModelInfo
from workers.local_generator import LocalGenerator
from workers.passing import in_passing_thread

log = structlog.get_logger(__name__)

PACKAGED = "slimpajama"

_SMALL_MODEL_PARAMETERS = 100_000_000
_DEFAULT_CONTEXT = 2048
# Configurations name it differently; the first one that is there counts.
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_WHOLE_BYTES = 64 << 20
_EDGE_BYTES = 8 << 20
_HASHED = ("config.json", "tokenizer.json", "*.safetensors", "*.bin", "tokenizer_config.json", "chat_template.jinja")
# from_pretrained reports what is wrong with a model by these.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    ImportError,
    RuntimeError,
    KeyError,
    AttributeError,
    TypeError,
    SafetensorError,
)


def load_generator(settings: Settings) -> LocalGenerator:
    """Load the model that the settings name. Raises ModelUnavailable."""
    return in_passing_thread(partial(_loaded, settings))


def _loaded(settings: Settings) -> LocalGenerator:
    _check_engine(settings)
    set_threads(settings.threads)
    config = _load_config(settings)
    device = _device(settings.device)
    _tell_far_memory(device)
    dtype = _dtype(settings.dtype, device, config)
    _check_memory(settings, config, device, dtype)
    tokenizer = _load(AutoTokenizer, settings)
    model = _load_model(settings, device, dtype)
    engine = _engine(settings, model)
    info = ModelInfo(settings.model, _revision(model), engine.context_tokens)
    log.info(
        "The model is loaded.",
        action="model_loaded",
        model=info.name,
        revision=info.revision,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        context_tokens=info.context_tokens,
    )
    return LocalGenerator(info, tokenizer, engine, stop_ids(model, tokenizer))


def describe(settings: Settings) -> str:
    """The model that the settings name, in a line, from its configuration alone. Raises ModelUnavailable."""
    config = _load_config(settings)
    device = _device(settings.device)
    dtype = _dtype(settings.dtype, device, config)
    parameters = _parameters(config)
    weights = f"{parameters / 1e6:,.1f}M parameters, {parameters * dtype.itemsize / 1e9:.2f} GB" if parameters else "?"
    context = _context_tokens(settings.max_context_tokens, config)
    precision = str(dtype).removeprefix("torch.")
    return f"{settings.model}: {weights} in {precision} on {device}, {context} tokens of context"


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens with which the model and its tokenizer end an answer."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)


def _check_engine(settings: Settings) -> None:
    if settings.engine == "transformers" and settings.repetition_penalty != 1:
        raise ModelUnavailable(
            f"{variable('engine')}=transformers cannot make repeats less likely: set {variable('repetition_penalty')}=1."
        )
    if settings.engine == "transformers" and settings.dtype == "int8":
        raise ModelUnavailable(f"{variable('engine')}=transformers knows no {variable('dtype')}=int8: set another.")


def _engine(settings: Settings, model: PreTrainedModel) -> EngineLoop:
    """The engine that the settings name, running the model. Raises ModelUnavailable."""
    context_tokens = _context_tokens(settings.max_context_tokens, model.config)
    if settings.engine == "transformers":
        return ManagedEngine(
            model,
            max_batch_size=settings.max_batch_size,
            context_tokens=context_tokens,
            kv_memory_mib=settings.kv_memory_mib,
        )
    return make_engine(
        model,
        max_batch_size=settings.max_batch_size,
        context_tokens=context_tokens,
        kv_memory_mib=settings.kv_memory_mib,
        reuse=KvReuse(settings.kv_reuse),
        int8=settings.dtype == "int8",
    )


def _load_model(settings: Settings, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    from slimpajama.checkpoints import lacking  # which registers a model of its own

    model, told = _load(AutoModelForCausalLM, settings, dtype=dtype, output_loading_info=True)
    reason = lacking(told)
    if reason:
        raise ModelUnavailable(f"{_named(settings)} cannot be loaded: {reason}.")
    try:
        placed: PreTrainedModel = model.to(device).eval()
    except RuntimeError as error:  # no such device, or too little memory on it
        raise ModelUnavailable(f"{_named(settings)} cannot be put on {device}: {_first_line(error)}") from error
    return placed


def _check_memory(settings: Settings, config: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Raises ModelUnavailable where the weights alone need more memory than is free."""
    needed = _parameters(config) * dtype.itemsize
    free = _free_bytes(device)
    if needed > free:
        raise ModelUnavailable(
            f"{_named(settings)} needs {needed / 1e9:,.1f} GB in {str(dtype).removeprefix('torch.')}, and {device} has "
            f"{free / 1e9:,.1f} GB free: name a smaller model, a shorter {variable('dtype')}, or make room."
        )


def _free_bytes(device: torch.device) -> int:
    """Raises ModelUnavailable for a GPU that is not there."""
    if device.type != "cuda":  # others share the machine's memory
        return machine.free_bytes()
    try:
        return torch.cuda.mem_get_info(device)[0]
    except RuntimeError as error:
        raise ModelUnavailable(f"{variable('device')}={device} cannot be used: {_first_line(error)}") from error


def _load_config(settings: Settings) -> Any:
    """The model's configuration, or the reason why there is none."""
    name = settings.model
    if name != PACKAGED and _looks_like_path(name):
        _check_folder(settings)
    if name == PACKAGED or _is_slimpajama(Path(name).expanduser()):
        import slimpajama  # noqa: F401 - registers the model; not needed for any other
    config = _load(AutoConfig, settings)
    remote = settings.trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    known = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if not known and not remote:
        raise ModelUnavailable(f"{_named(settings)} is no causal language model: its type is {config.model_type!r}.")
    return config


def _load(auto: Any, settings: Settings, **options: Any) -> Any:
    """`auto.from_pretrained`, with what goes wrong said in one sentence."""
    try:
        return auto.from_pretrained(settings.model, trust_remote_code=settings.trust_remote_code, **options)
    except _LOADING_ERRORS as error:
        raise ModelUnavailable(_explain(settings, error)) from error


def _explain(settings: Settings, error: Exception) -> str:
    reason = _first_line(error)
    if "trust_remote_code" in str(error):
        return f"{_named(settings)} brings its own code. If you trust it, set {variable('trust_remote_code')}=true."
    if "backend tokenizer" in str(error):  # whose first line ends in the midst of a sentence
        return f"{_named(settings)} cannot be loaded: its tokenizer is missing, e.g. tokenizer.json."
    if settings.model == PACKAGED or _looks_like_path(settings.model):
        return f"{_named(settings)} cannot be loaded: {reason}"
    return (
        f"{_named(settings)} cannot be loaded from the hub: {reason} Check the name and the network, or download the "
        f"model and set {variable('model')} to its folder."
    )


def _check_folder(settings: Settings) -> None:
    folder = Path(settings.model).expanduser()
    if not folder.exists():
        raise ModelUnavailable(f"{_named(settings)}: there is no such folder.")
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(f"{_named(settings)} is no model folder: it has no config.json.")


def _is_slimpajama(folder: Path) -> bool:
    """Whether a folder holds a SlimPajama: the code beside its weights is ours, and need not be trusted to run."""
    try:
        return bool(json.loads((folder / "config.json").read_bytes()).get("model_type") == PACKAGED)
    except (OSError, ValueError, AttributeError):
        return False  # a hub name, or what is loading says in its own words


def _looks_like_path(name: str) -> bool:
    """A hub name has at most one slash and does not start like a path."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name or Path(name).exists()


def _named(settings: Settings) -> str:
    return f"{variable('model')}={settings.model}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def set_threads(threads: int) -> None:
    """One thread a physical core that this process may use: OpenMP barriers stall when two share one."""
    torch.set_num_threads(threads or machine.cores())


def _tell_far_memory(device: torch.device) -> None:
    """A step reads all weights; half of them come from the other socket where threads run on both."""
    if device.type == "cpu" and (nodes := machine.memory_nodes()) > 1:
        log.warning(
            "This worker's threads are spread over several sockets. A worker for each is faster: "
            "numactl --cpunodebind=0 --membind=0 pajama worker, and so on.",
            action="memory_far",
            nodes=nodes,
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelUnavailable(f"{variable('device')}={name} is no device; auto, cpu, cuda and cuda:N are.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable(f"{variable('device')}={name}: torch sees no CUDA device.")
    return device


def _dtype(name: str, device: torch.device, config: Any) -> torch.dtype:
    """The precision, by itself one that the device multiplies. On a CPU bfloat16 pays only where the processor multiplies it and the model is large."""
    if name == "int8":
        if device.type != "cpu" or not packing.supported(torch.bfloat16):
            raise ModelUnavailable(
                f"{variable('dtype')}=int8 needs an x86 CPU that multiplies bfloat16, which {device} here is not: set auto."
            )
        return torch.bfloat16
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    if device.type == "cuda":  # untried on a GPU: older ones only emulate bfloat16
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return cpu_precision(_parameters(config))


def cpu_precision(parameters: int) -> torch.dtype:
    """The best precision for a model of this size on this CPU."""
    capable = torch.cpu.get_capabilities()
    fast = capable.get("avx512_bf16") or capable.get("amx_bf16")
    return torch.bfloat16 if fast and parameters >= _SMALL_MODEL_PARAMETERS else torch.float32


def _parameters(config: Any) -> int:
    """The size of a model, without making it; 0 where only its own code could tell."""
    auto: Any = AutoModelForCausalLM
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in auto.from_config(config).parameters())
    except _LOADING_ERRORS:
        return 0


def _context_tokens(wanted: int, config: Any) -> int:
    allowed = next((value for name in _CONTEXT_NAMES if (value := getattr(config, name, None))), _DEFAULT_CONTEXT)
    return min(wanted, int(allowed)) if wanted else int(allowed)


def _revision(model: PreTrainedModel) -> str:
    """The hub's commit, or a short hash of the folder's configuration, tokenizer and weights."""
    commit = getattr(model.config, "_commit_hash", None)
    if commit:
        return str(commit)[:12]
    folder = Path(str(model.name_or_path))
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _HASHED for path in folder.glob(pattern)}):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        for block in _telling_blocks(path):
            digest.update(block)
    return digest.hexdigest()[:12]


def _telling_blocks(path: Path) -> Iterator[bytes]:
    """All of a small file, the first and last 8 MiB of a large one."""
    with path.open("rb") as file:
        if path.stat().st_size <= _WHOLE_BYTES:
            yield file.read()
            return
        yield file.read(_EDGE_BYTES)
        file.seek(-_EDGE_BYTES, 2)
        yield file.read(_EDGE_BYTES)
