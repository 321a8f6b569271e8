"""On a GPU the products of torch are the fast ones; what lies between them is left to it too."""

from openbook.ops.joint_attention.reference import joint_attention

__all__ = ["joint_attention"]
