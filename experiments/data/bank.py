"""`separatrix bank`: decode the clips of a data configuration once, before a training starts on several devices."""

from pathlib import Path

from experiments.command_line.configurations import config_options, model_kind, options, resolved
from experiments.command_line.parser import data_parser
from experiments.command_line.text import counted, show_next
from lightning_modules.errors import InputError, printable

DESCRIPTION = """Decode, resample and measure the clips of a data configuration once, into one memory map that every
rank and worker shares. A bank that is complete is left alone. Trainings on one device build it by themselves."""
EXAMPLE = "bank --config weak_labels/base --data.corpus.root UrbanSound8K"


def command(arguments: list[str]) -> None:
    """`separatrix bank ...`."""
    parser = data_parser(arguments, DESCRIPTION, EXAMPLE)
    parser.add_argument("--workers", type=int | None, help="decoding threads; one for each core unless given")
    settings = parser.parse_args(resolved(arguments[1:], ("data",)))
    if settings.workers is not None and settings.workers < 0:
        raise InputError(f"--workers: {settings.workers}; 0 or more is needed")
    bank = parser.instantiate(settings).data.build(settings.workers)

    samples, rate = int(bank.lengths.sum()), bank.sample_rate
    for line in bank.left_out:
        print(f"left out: {printable(line)}")
    size = f"{samples / rate / 60:.1f} minutes at {rate} Hz, {4 * samples / 1e6:.0f} MB"
    left_out = counted(len(bank.left_out), "clip")
    print(f"{bank.path}: {counted(len(bank.clips), 'clip')}, {size}; {left_out} left out")
    given = [option for option in options(arguments[1:]) if option[0].partition("=")[0] != "--workers"]
    words = [word for option in given for word in option]
    models = [option[1] for option in given if option[0] == "--config" and model_kind(option[1])]
    model = "deep_clustering/model" if settings.data.class_path.endswith("SourcePairs") else "weak_labels/strong"
    added = [] if models else config_options(model)
    show_next([], [["fit", *words, *added, "--run", f"runs/{Path([*models, *added][-1]).stem}"]])
