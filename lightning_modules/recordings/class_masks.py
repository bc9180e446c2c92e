"""A weak-label separator on a recording."""

from collections.abc import Callable

from torch import Tensor

from lightning_modules.recordings.analysis import hear, mask
from lightning_modules.recordings.running_moments import RunningMoments
from lightning_modules.recordings.windows import Excerpt, Window, WindowedRecording
from lightning_modules.spectrogram import log_magnitude
from lightning_modules.weak_labels.separator import MaskSeparator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


class ClassMasks:
    """One source for each class.

    Where the network's input is normalised over the mixture, that is the whole recording: a network's answer to a
    sound does not depend on where the windows begin.

    Args:
        model: that separates.
        recording: read once before the estimates; a single window is normalised by the model itself.
        heard: is called with every window that the network has heard.
    """

    def __init__(
        self, model: WeakLabelSeparator, recording: WindowedRecording, heard: Callable[[Window], None]
    ) -> None:
        self.model = model
        self._heard = heard
        self._deviation_and_mean: tuple[Tensor, Tensor] | None = None
        network = model.separator
        if len(recording) > 1 and isinstance(network, MaskSeparator) and network.input_normalisation == "mixture":
            moments = RunningMoments()
            for excerpt in recording:
                spectrogram = hear(excerpt, model.geometry)
                moments.add(log_magnitude(spectrogram.own_magnitude, network.epsilon))
            deviation, mean = moments.deviation_and_mean()
            self._deviation_and_mean = deviation.to(model.device), mean.to(model.device)

    def estimates(self, excerpt: Excerpt) -> Tensor:
        """The sources in a window, [C, channels, n]."""
        spectrogram = hear(excerpt, self.model.geometry)
        # A network of one's own knows no statistics of more than it hears.
        shared = [] if self._deviation_and_mean is None else [self._deviation_and_mean]
        (masks,) = self.model.separator(spectrogram.magnitude, *shared)
        self._heard(excerpt.window)
        return mask(masks, spectrogram, self.model.geometry)
