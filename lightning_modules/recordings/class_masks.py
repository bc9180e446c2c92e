"""A weak-label separator on a recording."""

from collections.abc import Callable

from torch import Tensor

from lightning_modules.recordings.analysis import hear, mask
from lightning_modules.recordings.running_moments import RunningMoments
from lightning_modules.recordings.windows import Excerpt, Window, WindowedRecording
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
        if len(recording) > 1 and model.input_normalisation == "mixture":
            moments = RunningMoments()
            for excerpt in recording:
                spectrogram = hear(excerpt, model.geometry)
                moments.add(model.input_features(spectrogram.own_magnitude))
            deviation, mean = moments.deviation_and_mean()
            self._deviation_and_mean = deviation.to(model.device), mean.to(model.device)

    def estimates(self, excerpt: Excerpt) -> Tensor:
        """The sources in a window, [C, channels, n]."""
        spectrogram = hear(excerpt, self.model.geometry)
        (masks,) = self.model.masks(spectrogram.magnitude, self._deviation_and_mean)
        self._heard(excerpt.window)
        return mask(masks, spectrogram, self.model.geometry)
