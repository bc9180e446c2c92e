"""`separatrix export`: a trained model as one file that travels, and on request its network as a program."""

import contextlib
from pathlib import Path

import torch
from jsonargparse import Namespace
from rich.console import Console
from torch import Tensor

from datamodules.corpora.audio_file import read_audio, resample
from experiments.card import card_table
from experiments.command_line.configurations import config_options
from experiments.command_line.next_steps import tell
from experiments.command_line.parser import Explaining, command_parser
from experiments.model_card import KINDS, new_card
from experiments.network_program import NetworkOf, heard_by, noise, write_program
from experiments.output.sole_writer import sole_writer
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import load_module, read_checkpoint
from lightning_modules.errors import InputError
from lightning_modules.exported_model import Card, write_exported
from lightning_modules.weak_labels.classifier_module import EventClassifier

LONGEST_COMPARED = 30  # seconds of a recording

DESCRIPTION = """Write the weights of a checkpoint and a card, which says what they are of, into one safetensors file.
Wherever a checkpoint can be named, so can the file: it holds nothing that could be run, and no paths or dates."""
EXAMPLES = (
    "export runs/strong/checkpoints/best.ckpt --output strong.safetensors",
    "export runs/speech/checkpoints/best.ckpt --output speech.safetensors --program speech.pt2",
)


def export_module(
    checkpoint: str | Path,
    output: str | Path,
    data_licence: str | None = None,
    half: bool = False,
    recording: str | Path | None = None,
    overwrite: bool = False,
) -> Card:
    """Write a trained model as one file that `load_module` reads as it reads the checkpoint.

    Args:
        checkpoint: of a WeakLabelSeparator, EventClassifier or DeepClustering; or a file written by this function.
        output: the new file.
        data_licence: of the recordings that the model learnt from, where their corpus does not tell it.
        half: whether weights are kept as float16: half the size, and other outputs, by as much as the card says.
        recording: an audio file, on which `half` is measured besides noise.
        overwrite: whether a file that is there may be replaced.

    Returns:
        The card.

    Raises:
        InputError: the checkpoint cannot be read, the file is there, or weights are too large for float16.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    _require_free(output, overwrite)
    module = load_module(checkpoint, *KINDS).eval()
    card = read_checkpoint(checkpoint).get("card") or new_card(checkpoint)
    card = {**card, "data_licence": data_licence or card.get("data_licence")}
    weights = module.state_dict()
    if half:
        weights = {name: weight.half() if weight.is_floating_point() else weight for name, weight in weights.items()}
        beyond = [name for name, weight in weights.items() if not weight.isfinite().all()]
        if beyond:
            raise InputError(f"--half: {beyond[0]} is beyond what float16 holds (65504); export without it")
        # Weights that were rounded before do not differ again: what the card says of them stays true.
        card["half"] = card.get("half") or _rounding(module, weights, compared(module, recording))
    write_exported(output, card, weights)
    return read_checkpoint(output)["card"]


def compared(module: SeparatrixModule, recording: str | Path | None) -> dict[str, Tensor]:
    """What outputs are compared on: noise and, where it is given, the beginning of a recording, [1, T] each."""
    rate = module.geometry.sample_rate
    mixtures = {"noise": noise(1, int(1.3 * rate))}
    if recording is not None:
        samples, own_rate = read_audio(recording)
        samples = resample(samples[: LONGEST_COMPARED * own_rate], own_rate, rate)
        mixtures["the recording"] = torch.from_numpy(samples).unsqueeze(0)
    return mixtures


@torch.no_grad()
def _rounding(module: SeparatrixModule, weights: dict[str, Tensor], mixtures: dict[str, Tensor]) -> dict[str, float]:
    """The largest difference that rounded weights make in what the network puts out, by mixture."""
    exact = {name: NetworkOf(module)(heard_by(module, mixture)) for name, mixture in mixtures.items()}
    own = {name: weight.clone() for name, weight in module.state_dict().items()}
    module.load_state_dict(weights)
    rounded = {name: NetworkOf(module)(heard_by(module, mixture)) for name, mixture in mixtures.items()}
    module.load_state_dict(own)
    return {f"largest difference on {name}": float((rounded[name] - exact[name]).abs().max()) for name in exact}


def _require_free(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: is there already; choose another name, or replace it with --overwrite")


def _parser() -> Explaining:
    parser = command_parser("export", DESCRIPTION, *EXAMPLES)
    parser.add_argument("checkpoint", type=Path, help="of a separator, a judge or a deep clustering model")
    parser.add_argument("--output", type=Path, required=True, help="the new file, FILE.safetensors")
    parser.add_argument("--data-licence", help="of the recordings that it learnt from, where the corpus is your own")
    parser.add_argument(
        "--program", type=Path, help="write the network as a program of torch.export, too, FILE.pt2: for other projects"
    )
    parser.add_argument("--recording", type=Path, help="an audio file on which --program and --half are compared")
    parser.add_argument(
        "--half", action="store_true", help="keep the weights as float16: half the size, not the same outputs"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser


def command(arguments: list[str]) -> None:
    """`separatrix export ...`."""
    given = _parser().parse_args(arguments[1:])
    if given.output.suffix != ".safetensors":
        raise InputError(f"--output {given.output}: a name that ends in .safetensors is needed")
    if given.program is not None:
        if given.program.suffix != ".pt2":
            raise InputError(f"--program {given.program}: a name that ends in .pt2 is needed")
        _require_free(given.program, given.overwrite)
    if given.recording is not None:
        if not (given.program or given.half):
            raise InputError("--recording: compares --program or --half with the model; give one of them, too")
        read_audio(given.recording)  # before anything is written
    with contextlib.ExitStack() as alone:
        alone.enter_context(sole_writer(given.output, "--output"))
        if given.program is not None:
            alone.enter_context(sole_writer(given.program, "--program"))
        _export(given)


def _export(given: Namespace) -> None:
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    console.print(f"exporting {given.checkpoint}", markup=False)
    card = export_module(
        given.checkpoint, given.output, given.data_licence, given.half, given.recording, given.overwrite
    )
    console.print(card_table(card))
    module = load_module(given.output, *KINDS)
    made = [f"{given.output}, {_size(given.output)}"]
    if given.program is not None:
        differences = write_program(given.program, module, card, compared(module, given.recording))
        largest = ", ".join(f"{difference:.1e} on {name}" for name, difference in differences)
        made.append(f"{given.program}, {_size(given.program)}; largest difference from the model: {largest}")
    tell(made, [_next(str(given.output), module)])


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _next(path: str, module: SeparatrixModule) -> list[str]:
    if isinstance(module, EventClassifier):
        configurations = config_options("weak_labels/base", f"weak_labels/{module.supervision}")
        return ["fit", *configurations, "--model.judge", path, "--data.corpus.root", "DATA"]
    return ["separate", "--model", path, "RECORDING.wav", "--output", "separated"]
