"""The model-selection paper's experiment as stages."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.command_line.configurations import added_options, config_options, data_options
from experiments.reproduction.sources import Source
from experiments.reproduction.stage import Stage
from lightning_modules.run_files import RunFiles


def model_selection_stages(
    output: Path, settings: list[str], domains: Mapping[str, Source], added: Sequence[str] = ()
) -> list[Stage]:
    """One model per domain, then all of them on every domain's validation and test mixtures (Liu et al. 2020).

    `settings` go to every command; `domains` are the sounds by name; `added` are configurations, each for the commands
    that it fits.
    """
    stages = []
    for domain, (words, recordings) in domains.items():
        arguments: tuple[str, ...] = ("bank", *words, *added_options(added), *data_options(settings))
        stages.append(Stage(f"{domain}.bank", arguments, output / domain, recordings=recordings))
    for domain, (words, _) in domains.items():
        of_model = added_options(added, "DeepClustering")
        arguments = ("fit", *words, *of_model, "--run", str(output / domain), *settings)
        stages.append(Stage(f"{domain}.fit", arguments, output / domain, (f"{domain}.bank",)))
    checkpoints = json.dumps([str(RunFiles(output / domain).best) for domain in domains])
    needs = tuple(f"{domain}.fit" for domain in domains)
    for domain, (words, _) in domains.items():
        run = output / "selection" / domain
        models = [*config_options("deep_clustering/selection"), "--model.checkpoints", checkpoints]
        arguments = (*models, *words, *added_options(added, "ModelSelection"), "--run", str(run), *settings)
        stages.append(Stage(f"{domain}.validate", ("validate", *arguments), run, needs))
        # One after the other: they write into one folder.
        stages.append(Stage(f"{domain}.test", ("test", *arguments), run, (*needs, f"{domain}.validate")))
    return stages
