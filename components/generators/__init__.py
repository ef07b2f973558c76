"""Generators: noise, perhaps a class, perhaps a low-resolution video, to a video."""

from components.generators.base import Generator
from components.generators.dvd import DVDGenerator
from components.generators.upsampling import UpsamplingGenerator

__all__ = ["DVDGenerator", "Generator", "UpsamplingGenerator"]
