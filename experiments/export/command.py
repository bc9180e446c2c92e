"""`separatrix export`: a trained model as one file that travels, and on request its network as a program."""

import contextlib
from pathlib import Path

from experiments.command_line.parser import command_parser
from experiments.command_line.text import show_next
from experiments.output.sole_writer import sole_writer
from experiments.separation.models import uses
from lightning_modules.errors import InputError
from lightning_modules.pretrained import model_file

DESCRIPTION = """Write the weights of a checkpoint and a card, which says what they are of, into one safetensors file.
Wherever a checkpoint can be named, so can the file: it holds nothing that could be run, and no paths or dates."""
EXAMPLES = (
    "export runs/strong/checkpoints/best.ckpt --output strong.safetensors",
    "export runs/speech/checkpoints/best.ckpt --output speech.safetensors --program speech.pt2",
)


def command(arguments: list[str]) -> None:
    """`separatrix export ...`."""
    parser = command_parser("export", DESCRIPTION, *EXAMPLES)
    add = parser.add_argument
    add(
        "checkpoint",
        type=Path,
        help="of a separator, a classifier or a deep clustering model, or the name of an included one",
    )
    add("--output", type=Path, required=True, help="the new file, FILE.safetensors")
    add("--data-licence", help="of the recordings that it was trained on, where the corpus is your own")
    add("--program", type=Path, help="write the network as a program of torch.export, too, FILE.pt2")
    add("--half", action="store_true", help="keep the weights as float16: half the size, not the same outputs")
    add("--overwrite", action="store_true", help="replace files that are there")
    given = parser.parse_args(arguments[1:])
    from experiments.export.model import KINDS, export_module, require_free, write_program
    from lightning_modules.trained_module import load_module

    with contextlib.ExitStack() as alone:
        for option, path, ending in (("--output", given.output, ".safetensors"), ("--program", given.program, ".pt2")):
            if path is not None:
                if path.suffix != ending:
                    raise InputError(f"{option} {path}: a name that ends in {ending} is needed")
                require_free(path, given.overwrite)
                alone.enter_context(sole_writer(path, option))
        print(f"exporting {given.checkpoint}")
        card = export_module(
            model_file(given.checkpoint), given.output, given.data_licence, given.half, given.overwrite
        )
        if card["data_licence"] is None:
            print("its card names no data_licence; --data-licence says that of your recordings")
        made = [f"{given.output}, {given.output.stat().st_size / 1e6:.1f} MB"]
        if given.program is not None:
            difference = write_program(given.program, load_module(given.output, *KINDS), card)
            size = given.program.stat().st_size / 1e6
            made.append(f"{given.program}, {size:.1f} MB; on noise {difference:.1e} from the model at most")
    show_next(made, [["card", str(given.output)], *uses(str(given.output), card)])
