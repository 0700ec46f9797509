"""Draw faces whose attributes are known exactly, and each of them with one attribute changed.

The faces are synthetic: "Personas" by Draftbit (CC BY 4.0), drawn by DiceBear. Photographs have
labels that somebody guessed, and no photograph shows the same person with and without glasses at
the same moment. Here both are known: a face is a list of choices, and its counterfactual is the
same list with another choice.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from face_data import Changed, Faces, Images, Part, keep_images
from matplotlib.image import imread
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from molvae.base.errors import MolvaeError

try:
    import resvg_py
    from dicebear import Avatar, Style
except ImportError as error:
    raise MolvaeError(
        f"the package {error.name} is missing: pip install 'molvae[studies]'"
    ) from error

SKIN = ("#eeb4a4", "#e7a391", "#e5a07e", "#d78774", "#b16a5b", "#92594b", "#623d36")
DARK = 4  # the first of these that counts as dark
HAIR_COLOURS = ("#362c47", "#f29c65", "#6c4545", "#f27d65", "#dee1f5", "#e16381", "#e15c66")
CLOTHES_COLOURS = ("#456dff", "#6dbb58", "#f55d81", "#7555ca", "#e24553", "#54d7c7", "#f3b63a")
SHORT = ("buzzcut", "fade", "shortCombover", "mohawk", "balding")
LONG = ("bobBangs", "bobCut", "extraLong", "long")
HATS = ("beanie", "cap")
EYES = ("open", "happy", "sleep", "wink")
MOUTHS = ("bigSmile", "frown", "lips", "smile", "smirk", "surprise")
NOSES = ("mediumRound", "smallRound")
CLOTHES = ("checkered", "rounded", "small", "squared")
BEARDS = ("walrus", "beardMustache", "goatee")
HEADS = ("short hair", "long hair", "hat")
ATTRIBUTES = ("glasses", "dark skin", "long hair", "hat")  # yes or no


@dataclass(frozen=True)
class Face:
    """The choices that make a face; those that another one hides (eyes, by glasses) stay known."""

    glasses: bool
    skin: int  # light to dark
    head: int  # which of HEADS
    beard: bool
    hair_colour: int
    clothes_colour: int
    clothes: int
    mouth: int
    nose: int
    eyes: int
    short: int  # the hair that it has when its hair is short
    long: int
    hat: int
    beard_style: int

    def has(self) -> tuple[bool, ...]:
        """Return which of ATTRIBUTES it has."""
        return self.glasses, self.skin >= DARK, self.head == 1, self.head == 2

    def change(self, attribute: str) -> Face:
        """Return the same face with one of ATTRIBUTES changed: its true counterfactual.

        Long hair and a hat become short hair, and short hair becomes either; light skin becomes
        equally dark (the fifth colour of seven the first, and so on), and dark light.
        """
        if attribute == "glasses":
            return replace(self, glasses=not self.glasses)
        if attribute == "dark skin":
            # the middle one, neither first nor last, is light and goes to the darkest
            skin = self.skin - DARK if self.skin >= DARK else min(self.skin + DARK, len(SKIN) - 1)
            return replace(self, skin=skin)
        head = HEADS.index(attribute)
        return replace(self, head=0 if self.head == head else head)


LEVELS = len(SKIN)  # at most, of a factor
FACTORS = ("glasses", "skin", "head", "beard", "hair_colour", "clothes_colour", "clothes", "mouth")


def draw_choices(n: int, rng: np.random.Generator) -> list[Face]:
    """Number of faces -> their choices, all independent."""

    def pick(options: Sequence[str]) -> NDArray[np.int64]:
        return rng.integers(len(options), size=n)

    columns = (
        rng.random(n) < 0.5,
        pick(SKIN),
        pick(HEADS),
        rng.random(n) < 0.3,
        *map(pick, (HAIR_COLOURS, CLOTHES_COLOURS, CLOTHES, MOUTHS, NOSES, EYES)),
        *map(pick, (SHORT, LONG, HATS, BEARDS)),
    )
    return [Face(*(value.item() for value in row)) for row in zip(*columns, strict=True)]


def load_drawn_faces(sizes: tuple[int, int, int], side: int, seed: int, folder: Path) -> Faces:
    """Draw all faces, or read those that an earlier call drew.

    The counterfactuals are those of the first quarter of the test faces.

    Args:
        sizes: numbers of faces to train on, of validation and of test.
        side: of an image, in pixels.
        seed: of the choices.
        folder: where the images are kept.
    """
    rng = np.random.default_rng(seed)
    train, validation, test = (draw_choices(n, rng) for n in sizes)
    parts = {"train": train, "validation": validation, "test": test}
    edited = test[: len(test) // 4]
    parts |= {name: [face.change(name) for face in edited] for name in ATTRIBUTES}
    with tqdm(total=sum(map(len, parts.values())), unit="face", desc="drawing") as bar:

        def draw(faces: list[Face]) -> Iterator[Images]:
            for i in range(0, len(faces), 100):
                yield draw_faces(faces[i : i + 100], side)
                bar.update(min(100, len(faces) - i))

        images = {
            name: keep_images(folder / f"drawn-{name.replace(' ', '-')}.npy", draw(faces))
            for name, faces in parts.items()
        }
    return Faces(
        (*ATTRIBUTES, "beard"),
        ATTRIBUTES,
        *(_describe(images[name], parts[name]) for name in ("train", "validation", "test")),
        {name: images[name] for name in ATTRIBUTES},
        _find_factors(train),
    )


def _describe(x: Images, faces: list[Face]) -> Part:
    """Images of faces (n, 3, H, W) and the faces -> what is known of them."""

    def tell(faces: list[Face]) -> Changed:
        levels = torch.nn.functional.one_hot(_find_factors(faces), LEVELS)
        seen = np.array([(*face.has(), face.beard) for face in faces])
        return Changed(seen, levels.flatten(1).float())

    own = tell(faces)
    changed = {name: tell([face.change(name) for face in faces]) for name in ATTRIBUTES}
    return Part(x, own.seen, own.known, changed)


def _find_factors(faces: list[Face]) -> Tensor:
    """Faces (n) -> the level of each of FACTORS (n, F)."""
    return torch.tensor([[int(getattr(face, name)) for name in FACTORS] for face in faces])


def draw_faces(faces: Sequence[Face], side: int) -> Images:
    """Faces (n) -> images (n, 3, side, side) with values in [0, 1]."""
    text = resources.files("dicebear_styles").joinpath("personas.json").read_text("utf-8")
    style = Style(json.loads(text))
    return np.stack([_draw_face(style, face, side) for face in faces])


def _draw_face(style: Style, face: Face, side: int) -> Images:
    hair = ((SHORT, face.short), (LONG, face.long), (HATS, face.hat))[face.head]
    options = {
        "seed": "face",
        "backgroundColor": ["#ffffff"],
        "skinColor": [SKIN[face.skin]],
        "hairColor": [HAIR_COLOURS[face.hair_colour]],
        "facialHairColor": [HAIR_COLOURS[face.hair_colour]],
        "clothingColor": [CLOTHES_COLOURS[face.clothes_colour]],
        "hairVariant": [hair[0][hair[1]]],
        "eyesVariant": ["glasses" if face.glasses else EYES[face.eyes]],
        "mouthVariant": [MOUTHS[face.mouth]],
        "noseVariant": [NOSES[face.nose]],
        "clothesVariant": [CLOTHES[face.clothes]],
        "facialHairVariant": [BEARDS[face.beard_style]],
        "facialHairProbability": 100 if face.beard else 0,
    }
    svg = Avatar(style, options).to_string()
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    image = imread(io.BytesIO(bytes(png)), format="png")[..., :3]
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
