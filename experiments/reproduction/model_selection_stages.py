"""The model-selection paper's experiment as stages."""

import json
from collections.abc import Mapping
from pathlib import Path

from experiments.command_line.configurations import config_options, data_options
from experiments.reproduction.sources import Source
from experiments.reproduction.stage import Stage
from lightning_modules.run_files import RunFiles


def model_selection_stages(
    output: Path, settings: list[str], domains: Mapping[str, Source], head: str | None = None
) -> list[Stage]:
    """One model per domain, then all of them on every domain's validation and test mixtures (Liu et al. 2020).

    `settings` go to every command; `domains` are the sounds by name; `head` is that of the models, where it is not
    the published one, a configuration below deep_clustering/heads.
    """
    stages = []
    of_head = config_options(f"deep_clustering/heads/{head}") if head else []
    for domain, (words, recordings) in domains.items():
        arguments: tuple[str, ...] = ("bank", *words, *data_options(settings))
        stages.append(Stage(f"{domain}.bank", arguments, output / domain, recordings=recordings))
    for domain, (words, _) in domains.items():
        arguments = ("fit", *words, *of_head, "--run", str(output / domain), *settings)
        stages.append(Stage(f"{domain}.fit", arguments, output / domain, (f"{domain}.bank",)))
    checkpoints = json.dumps([str(RunFiles(output / domain).best) for domain in domains])
    needs = tuple(f"{domain}.fit" for domain in domains)
    for domain, (words, _) in domains.items():
        run = output / "selection" / domain
        models = [*config_options("deep_clustering/selection"), "--model.checkpoints", checkpoints]
        arguments = (*models, *words, "--run", str(run), *settings)
        stages.append(Stage(f"{domain}.validate", ("validate", *arguments), run, needs))
        # One after the other: they write into one folder.
        stages.append(Stage(f"{domain}.test", ("test", *arguments), run, (*needs, f"{domain}.validate")))
    return stages
