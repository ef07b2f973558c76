"""The layers that generators and discriminators are made of."""

from components.layers.attention import SeparableAttention, differentiate_twice
from components.layers.conditional_batch_norm import ConditionalBatchNorm, Statistics
from components.layers.conv_gru import ConvGRU
from components.layers.discriminator_block import DiscriminatorBlock2d, DiscriminatorBlock3d
from components.layers.factories import conv2d, conv3d, embedding, linear
from components.layers.folding import fold_time, lay_channels_last, lying, unfold_time
from components.layers.generator_block import GeneratorBlock2d, GeneratorBlock3d
from components.layers.init import orthogonal_init_
from components.layers.recompute import recompute
from components.layers.separable_conv3d import SeparableConv3d
from components.layers.spectral_norm import (
    PowerIterations,
    fix_weights,
    held_singular_vectors,
    settle_singular_vectors,
    spectral_norm,
)
from components.layers.standing_statistics import batch_statistics, follow, reserve_statistics, standing_statistics
from components.layers.sync_batch_norm import synchronize_batch_norms
from components.layers.timeline import Timeline

__all__ = [
    "ConditionalBatchNorm",
    "ConvGRU",
    "DiscriminatorBlock2d",
    "DiscriminatorBlock3d",
    "GeneratorBlock2d",
    "GeneratorBlock3d",
    "PowerIterations",
    "SeparableAttention",
    "SeparableConv3d",
    "Statistics",
    "Timeline",
    "batch_statistics",
    "conv2d",
    "conv3d",
    "differentiate_twice",
    "embedding",
    "fix_weights",
    "fold_time",
    "follow",
    "held_singular_vectors",
    "lay_channels_last",
    "linear",
    "lying",
    "orthogonal_init_",
    "recompute",
    "reserve_statistics",
    "settle_singular_vectors",
    "spectral_norm",
    "standing_statistics",
    "synchronize_batch_norms",
    "unfold_time",
]
