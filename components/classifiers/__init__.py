"""Classifiers: networks that are trained to tell a video's class, and whose features metrics may compare."""

from components.classifiers.base import Classifier
from components.classifiers.stored import Manifest, read_classifier
from components.classifiers.video_classifier import VideoClassifier

__all__ = ["Classifier", "Manifest", "VideoClassifier", "read_classifier"]
