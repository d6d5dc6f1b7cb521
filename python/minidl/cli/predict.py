"""`minidl predict`: classifies PNG files and test images with a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl import ops
from minidl.autograd import no_grad
from minidl.cli.config import RunConfig
from minidl.cli.recipe import build_model
from minidl.data import ImageSet, load_images
from minidl.training import load_checkpoint, load_model

# MNIST's digits were scaled into 20 x 20 of the 28 x 28 pixels, their centre of mass in the middle.
INK_SHARE = 20 / 28


@dataclass(frozen=True)
class Prediction:
    """One image, what was done to it, its probabilities, and its label where that is known."""

    title: str
    image: npt.NDArray[Any]
    probs: npt.NDArray[Any]
    label: int | None


class Predictor:
    """The model of a checkpoint, ready to classify."""

    def __init__(self, checkpoint: Path, data_dir: Path | None = None) -> None:
        state = load_checkpoint(checkpoint)
        if "run" not in state["config"]:
            raise ValueError(f"predict: {checkpoint} must come from `minidl train`, which keeps its options in it")
        self.config = RunConfig.from_json(state["config"]["run"])
        self.data: dict[str, Any] = state["config"]["data"]
        self.shape: tuple[int, int] = tuple(self.data["shape"])
        self.classes: Sequence[str] = self.data["classes"]
        self.model = build_model(self.config, self.shape[0] * self.shape[1], len(self.classes))
        load_model(self.model, state["model"], checkpoint)
        self.model.eval()
        self._data_dir = data_dir
        self._images: ImageSet | None = None

    def predict(self, source: str) -> Prediction:
        """Classifies a PNG file, or a test image by its index.

        Raises:
            ValueError: neither a file nor an index of the test set, or not an image.
        """
        path = Path(source)
        if not path.exists() and source.lstrip("-").isdigit():
            return self._predict_test_image(int(source))
        image, done = read_image(path, self.shape, centre_ink=self.config.dataset == "mnist")
        title = f"{path} ({', '.join(done)})" if done else str(path)
        return Prediction(title, image / 255, self._probabilities(image / 255 * self.data["pixel_max"]), None)

    def _predict_test_image(self, index: int) -> Prediction:
        if self._images is None:
            self._images = load_images(self.config.dataset, self._data_dir)
        count = len(self._images.test_labels)
        if not 0 <= index < count:
            raise ValueError(
                f"predict: index must be in [0, {count}) of the test set of {self.config.dataset}, got {index}"
            )
        image = self._images.test_images[index]
        title = f"test image {index} of {self.config.dataset}"
        label = int(self._images.test_labels[index])
        return Prediction(title, image / self.data["pixel_max"], self._probabilities(image), label)

    def _probabilities(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        x = (self.data["scale"] * pixels + self.data["shift"]).astype(np.float32).reshape(1, -1)
        with no_grad():
            probs: npt.NDArray[Any] = ops.softmax(self.model(ops.from_numpy(x)), 1).numpy()[0]
        return probs


def read_image(path: Path, shape: tuple[int, int], centre_ink: bool) -> tuple[npt.NDArray[Any], list[str]]:
    """An image file as light-on-dark grey values of `shape`, 0 to 255, and what had to be done to it, in words.

    Raises:
        ValueError: the file is missing or not an image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            flat = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened.convert("RGBA"))
            has_colour = opened.mode not in ("L", "1")
    except FileNotFoundError:
        raise ValueError(f"predict: {path} must be an image file or an index of the test set; there is none") from None
    except UnidentifiedImageError:
        raise ValueError(
            f"predict: {path} must be an image, such as a PNG file; its content is something else"
        ) from None
    grey = flat.convert("L")
    done = ["converted to grey"] if has_colour else []
    border = np.asarray(grey)[[0, -1]].ravel()
    if border.mean() > 127:
        grey = grey.point([255 - value for value in range(256)])
        done.append("inverted, as it was dark on light")
    rows, columns = shape
    if grey.size == (columns, rows):
        return np.asarray(grey, np.float64), done
    if centre_ink:
        return _centre_ink(grey, shape), [*done, "cropped, scaled and centred as MNIST's digits are"]
    resized = grey.resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(resized, np.float64), [*done, f"resized to {columns} x {rows}"]


def _centre_ink(grey: Any, shape: tuple[int, int]) -> npt.NDArray[Any]:
    from PIL import Image

    box = grey.point([255 * (value > 50) for value in range(256)]).getbbox()
    canvas = np.zeros(shape)
    if box is None:
        return canvas
    ink = grey.crop(box)
    scale = INK_SHARE * min(shape[0] / ink.height, shape[1] / ink.width)
    size = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    pixels = np.asarray(ink.resize(size, Image.Resampling.LANCZOS), np.float64)
    weights = pixels / max(pixels.sum(), 1)
    corner = []
    for axis in (0, 1):
        middle = float((weights.sum(1 - axis) * np.arange(pixels.shape[axis])).sum())
        corner.append(int(np.clip(round((shape[axis] - 1) / 2 - middle), 0, shape[axis] - pixels.shape[axis])))
    top, left = corner
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = np.clip(pixels, 0, 255)
    return canvas
