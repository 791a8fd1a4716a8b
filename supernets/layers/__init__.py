"""Elastic layers: thin owners of full-size weights over the operations of `kernels`."""

from supernets.layers.attention import ElasticAttention as ElasticAttention
from supernets.layers.embedding import ElasticEmbedding as ElasticEmbedding
from supernets.layers.feed_forward import ElasticFeedForward as ElasticFeedForward
from supernets.layers.linear import ElasticLinear as ElasticLinear
from supernets.layers.normalization import ElasticLayerNorm as ElasticLayerNorm
from supernets.layers.normalization import ElasticRmsNorm as ElasticRmsNorm
from supernets.layers.normalization import make_norm as make_norm
from supernets.layers.positions import ElasticPositions as ElasticPositions
from supernets.layers.positions import ElasticToken as ElasticToken
from supernets.layers.transformer import ElasticBlock as ElasticBlock
