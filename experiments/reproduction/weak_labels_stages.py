"""The weak-label paper's experiment as stages."""

from collections.abc import Sequence
from pathlib import Path

from experiments.command_line.configurations import added_options, config_options, data_options, model_kind
from experiments.reproduction.sources import Source
from experiments.reproduction.stage import Stage
from lightning_modules.run_files import RunFiles


def weak_labels_stages(
    preset: str, output: Path, settings: list[str], source: Source, added: Sequence[str] = ()
) -> list[Stage]:
    """Two classifiers, three separators, two references (Pishdadian et al. 2020).

    `settings` go to every command, after those of the source; `added` are configurations, each for the commands that it
    fits.
    """
    settings, size = [*source.words, *settings], ("--preset", preset)
    arguments = ("bank", *config_options("weak_labels/base"), *size, *added_options(added), *data_options(settings))
    stages = [Stage("bank", arguments, output, recordings=source.recordings)]

    def add(row: str, learns: bool = True, classifier: str | None = None) -> None:
        run = output / row
        # A reference is what its row says: no configuration changes it.
        of_model = added_options(added, model_kind(f"weak_labels/{row}") if learns else None)
        arguments = (*config_options(f"weak_labels/{row}"), *size, *of_model, "--run", str(run), *settings)
        needs: tuple[str, ...] = ("bank",)
        checkpoint: tuple[str, ...] = ()
        if learns:
            of_classifier = ("--model.classifier", str(RunFiles(output / classifier).best)) if classifier else ()
            needs += (f"{classifier}.fit",) if classifier else ()
            stages.append(Stage(f"{row}.fit", ("fit", *arguments, *of_classifier), run, needs))
            needs, checkpoint = (f"{row}.fit",), ("--ckpt_path", str(RunFiles(run).best))
        stages.append(Stage(f"{row}.test", ("test", *arguments, *checkpoint), run, needs))

    # What needs no classifier comes first: side by side with the classifiers it leaves no core idle at the end.
    add("strong")
    add("classifier_frame")
    add("classifier_clip")
    add("frame", classifier="classifier_frame")
    add("clip", classifier="classifier_clip")
    add("oracle_activity_mask", learns=False)
    add("ideal_ratio_mask", learns=False)
    return stages
