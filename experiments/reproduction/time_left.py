"""How long a reproduction still takes, by what its stages have taken so far."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from callbacks.step_progress import Progress
from experiments.reproduction.stage import Stage


class Forecast:
    """Seconds left, as if stages of one command, all of its trainings for instance, took about as long as each other.

    Args:
        stages: that are to do, each after those that it needs.
        jobs: how many run at a time.
    """

    def __init__(self, stages: Sequence[Stage], jobs: int) -> None:
        self._jobs = jobs
        self._stages = list(stages)
        self._took: list[tuple[str, float]] = []  # command and seconds

    def complete(self, stage: Stage, seconds: float) -> None:
        """Note that a stage is, and how long it took."""
        self._stages.remove(stage)
        self._took.append((stage.arguments[0], seconds))

    def seconds(self, running: Mapping[str, Progress]) -> float | None:
        """To the end of all, by how far those are that run, by name; None as long as no training can be judged by.

        What else nobody has seen yet counts as nothing: it is short beside trainings.
        """
        own: dict[str, float] = {}
        ends: dict[str, float] = {}
        for stage in self._stages:
            progress = running.get(stage.name)
            seconds = progress.left if progress else None
            seconds = self._mean(stage.arguments[0], running) if seconds is None else seconds
            if seconds is None:
                return None
            own[stage.name] = seconds
            ends[stage.name] = seconds + max((ends.get(need, 0.0) for need in stage.needs), default=0.0)
        return max([sum(own.values()) / self._jobs, *ends.values()])

    def later(self, stage: Stage) -> str:
        """Of a stage that runs alone, what it is told in LATER."""
        own = stage.arguments[0]
        others = [each.arguments[0] for each in self._stages if each is not stage]
        seconds = [self._mean(command, {}) for command in others if command != own]
        return "0 0" if None in seconds else f"{sum(filter(None, seconds))} {others.count(own)}"

    def _mean(self, command: str, running: Mapping[str, Progress]) -> float | None:
        took = [seconds for of, seconds in self._took if of == command]
        for stage in self._stages:
            progress = running.get(stage.name)
            if stage.arguments[0] == command and progress and progress.left is not None:
                took.append(progress.took + progress.left)
        return fmean(took) if took else (None if command == "fit" else 0.0)
