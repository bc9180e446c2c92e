"""The model-selection paper's experiment as stages."""

import json
from pathlib import Path

from experiments.command_line.configurations import config_options, data_options
from experiments.reproduction.stage import Stage
from lightning_modules.run_files import RunFiles

DOMAINS = ("speech", "music", "environmental")
# What a domain's mixtures are made of.
CORPUS_OF = {"speech": "librispeech", "music": "musdb18", "environmental": "urbansound8k"}


def model_selection_stages(preset: str, output: Path, settings: list[str], roots: dict[str, str]) -> list[Stage]:
    """One model per domain, then all of them on every domain's validation and test mixtures (Liu et al. 2020).

    `settings` go to every command; `roots` are the corpora's folders by name, none for procedural sounds.
    """
    data: dict[str, list[str]] = {}
    stages = []
    for domain in DOMAINS:
        data[domain] = [*config_options(f"deep_clustering/{domain}"), "--preset", preset]
        data[domain] += ["--data.corpus.root", roots[CORPUS_OF[domain]]] if roots else []
        stages.append(Stage(f"{domain}.bank", ("bank", *data[domain], *data_options(settings)), output / domain))
    for domain in DOMAINS:
        arguments = ("fit", *data[domain], "--run", str(output / domain), *settings)
        stages.append(Stage(f"{domain}.fit", arguments, output / domain, (f"{domain}.bank",)))
    checkpoints = json.dumps([str(RunFiles(output / domain).best) for domain in DOMAINS])
    needs = tuple(f"{domain}.fit" for domain in DOMAINS)
    for domain in DOMAINS:
        run = output / "selection" / domain
        models = [*config_options("deep_clustering/selection"), "--model.checkpoints", checkpoints]
        arguments = (*models, *data[domain], "--run", str(run), *settings)
        stages.append(Stage(f"{domain}.validate", ("validate", *arguments), run, needs))
        # One after the other: they write into one folder.
        stages.append(Stage(f"{domain}.test", ("test", *arguments), run, (*needs, f"{domain}.validate")))
    return stages
