"""The weak-label paper's experiment as stages."""

from pathlib import Path

from experiments.configuration import config_options, data_options, where_shipped
from experiments.reproduction.stage import Stage
from experiments.run_files import best_checkpoint


def weak_labels_stages(preset: str, output: Path, settings: list[str], roots: dict[str, str]) -> list[Stage]:
    """Two judges, three separators, two references (Pishdadian et al. 2020).

    Args:
        preset: size of the experiment.
        output: folder of the results.
        settings: further options of every command.
        roots: of the corpora, by name; none for procedural sounds.
    """
    settings = [*(("--data.corpus.root", roots["urbansound8k"]) if roots else ()), *settings]
    base = ("weak_labels/base", f"weak_labels/{preset}/data")
    stages = [Stage("bank", ("bank", *config_options(*base), *data_options(settings)), output)]

    def add(row: str, sizes: str | None = None, judge: str | None = None) -> None:
        run = output / row
        preset_says = where_shipped(*(f"weak_labels/{preset}/{part}" for part in (sizes, row) if part))
        configs = [*base, f"weak_labels/{row}", *preset_says]
        arguments = (*config_options(*configs), "--run", str(run), *settings)
        needs = ["bank"]
        checkpoint: tuple[str, ...] = ()
        if sizes:
            listens = ("--model.judge", str(best_checkpoint(output / judge))) if judge else ()
            stages.append(
                Stage(f"{row}.fit", ("fit", *arguments, *listens), run, ("bank", *([f"{judge}.fit"] if judge else ())))
            )
            needs, checkpoint = [f"{row}.fit"], ("--ckpt_path", str(best_checkpoint(run)))
        stages.append(Stage(f"{row}.test", ("test", *arguments, *checkpoint), run, tuple(needs)))

    # What needs no judge comes first: side by side with the judges it leaves no core idle at the end.
    add("strong", "separator")
    add("judge_frame", "judge")
    add("judge_clip", "judge")
    add("frame", "separator", judge="judge_frame")
    add("clip", "separator", judge="judge_clip")
    add("gate")
    add("ideal_ratio_mask")
    return stages
